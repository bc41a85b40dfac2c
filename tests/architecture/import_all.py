"""A program: import all of the package beside what it works with, and tell what that changed in them.

The argument is Python that runs after the imports, so that a test can see that a change would be told.
Prints JSON: the modules imported, the attributes that are no longer the same object, and those that are new.
"""

import importlib
import json
import pkgutil
import signal
import sys
from types import ModuleType

OTHERS = """
    asyncio asyncio.base_events builtins http json logging signal socket sqlite3 ssl threading
    anyio fastapi fastapi.routing msgspec starlette.applications starlette.responses starlette.routing
    uvicorn uvicorn.config uvicorn.main uvicorn.protocols.http.httptools_impl uvicorn.server
    uvicorn.supervisors
""".split()
# Python and ABCMeta write these on a class as it is used; no patch would.
BOOKKEEPING = ("_abc_", "__abstractmethods__", "__static_attributes__", "__weakref__", "__dict__")


def attributes(modules: dict[str, ModuleType]) -> dict[str, object]:
    """Everything in the modules and in the classes they define, and what signals do."""
    found: dict[str, object] = {}
    for name, module in modules.items():
        for key, value in list(vars(module).items()):
            found[f"{name}:{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                for inner, attribute in list(vars(value).items()):
                    if not inner.startswith(BOOKKEEPING):
                        found[f"{name}:{key}.{inner}"] = attribute
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        found[f"the action of {number.name}"] = signal.getsignal(number)
    return found


def main(breach: str) -> None:
    others = {name: importlib.import_module(name) for name in OTHERS}
    before = attributes(others)

    package = importlib.import_module("clarion")
    imported = ["clarion"]
    for module in pkgutil.walk_packages(package.__path__, "clarion."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            imported.append(module.name)
    exec(breach, {})

    after = attributes(others)
    changed = [key for key, value in before.items() if after.get(key) is not value]
    # A submodule that is imported later becomes an attribute of its package; that is no change.
    added = [key for key in after.keys() - before.keys() if not isinstance(after[key], ModuleType)]
    print(json.dumps({"imported": imported, "changed": sorted(changed), "added": sorted(added)}))


if __name__ == "__main__":
    main(sys.argv[1])
