"""The rules of the house as pure functions: a source folder in, a list of what breaks the rule out.

The tables come first. A new module gets its place in `LAYERS`, a new third-party package gets its files in
`FOREIGN`.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGE = "clarion"

# From the bottom up. A module imports from its own row and the rows above it in this table, never from below.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "vocabulary": (
        "changes", "errors", "event", "foreign", "held", "json", "limits", "parser", "position", "receipt", "retention",
        "topics", "values", "wire",
    ),
    "core": (
        "audience", "blocks", "fanout", "folding", "log", "multimap", "observer", "plan", "run", "subscription",
        "takeover", "wheel",
        "journals.base", "sinks.base",  # the contracts: adapters fulfil them, the core may name them
    ),
    "adapters": ("clock", "journals", "journals.*", "sinks", "sinks.*", "prometheus", "uvicorn"),
    "hub": (
        "", "bodies", "delivery", "engine", "fastapi", "follower", "hub", "hub_calls", "lifecycle", "local", "orders",
        "pacing", "pager", "paging", "presence", "publisher", "publishing", "script", "start", "stream", "sync",
        "timers", "workers",
        "work", "work.*", "progress", "progress.*", "generation", "generation.*",
    ),
    "readers": ("client", "client.*"),
    "integrations": ("integrations", "integrations.*"),
    "kit": ("testing", "testing.*"),
    "programs": ("__main__", "cli", "cli.*", "demo", "demo.*", "bench", "bench.*"),
}  # fmt: skip

# Rows in which everything is decided without I/O: time, bytes and randomness are arguments.
PURE = ("vocabulary", "core")
IMPURE_MODULES = frozenset(
    "asyncio concurrent http.client http.server multiprocessing select selectors signal socket sqlite3 ssl "
    "subprocess threading time urllib.request".split()
)
CLOCK_READS = frozenset({"now", "today", "utcnow"})

# A package that is not ours (or a part of Python that is as good as foreign), and the files that may name it.
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "celery": ("integrations.celery",),
    "fastapi": ("fastapi", "progress.routes", "demo.*"),
    "httptools": ("uvicorn",),
    "httpx": ("client.httpx", "cli.*", "demo.*", "bench.*"),
    "httpx2": ("client.httpx",),
    "msgspec": ("json",),
    "prometheus_client": ("prometheus",),
    "pydantic": ("bodies", "demo.*"),
    "psutil": ("demo.*", "bench.*"),
    "pytest": ("testing.*",),
    "rich": ("integrations.rich",),
    "sqlite3": ("journals.sqlite*",),
    "starlette": (
        "fastapi",
        "generation.calls",
        "generation.response",
        "hub",
        "progress.routes",
        "script",
        "stream",
        "sinks.asgi",
        "lifecycle",
        "demo.*",
        "testing.*",
        "bench.*",
    ),
    "taskiq": ("integrations.taskiq",),
    "tqdm": ("integrations.tqdm",),
    "uvicorn": ("uvicorn", "cli.*", "demo.*", "bench.*"),
    "uvloop": ("cli.*", "bench.*"),
}
# What the package always depends on does not count as the one foreign name of a file.
AT_HOME = frozenset({"msgspec", "starlette"})

MODULE_LINES = 350
FUNCTION_LINES = 60  # without the docstring

# The project's glossary has a word for each of these.
UNUSED_WORDS = frozenset(
    "manager managers handler handlers helper helpers util utils backend backends broker brokers "
    "channel channels".split()
)


@dataclass(frozen=True)
class Import:
    """One imported name: the module it is in, the line, and whether importing the file runs it."""

    module: str
    line: int
    at_import: bool


@dataclass(frozen=True)
class Module:
    """A source file, parsed once. `name` leaves out the package: `journals.sqlite`, and "" for the root."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    imports: list[Import] = field(default_factory=list)

    @property
    def layer(self) -> str | None:
        for layer, patterns in LAYERS.items():
            if matches(self.name, patterns):
                return layer
        return None

    def at(self, line: int) -> str:
        return f"{self.path.as_posix()}:{line}"


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def read_package(folder: Path) -> list[Module]:
    """Every module under the package's folder, sorted by name."""
    sources = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
        for path in sorted(folder.rglob("*.py"))
    }
    modules = []
    for name, path in sources.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=str(path))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imports = list(_imports(tree, package, frozenset(sources)))
        modules.append(Module(name, path.relative_to(folder.parent), tree, text.count("\n"), imports))
    return modules


def _imports(tree: ast.Module, package: str, known: frozenset[str]) -> Iterator[Import]:
    for node, at_import in _statements(tree, at_import=True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                is_module = inner.startswith(f"{PACKAGE}.") and inner.removeprefix(f"{PACKAGE}.") in known
                yield Import(inner if is_module else base, node.lineno, at_import)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = [PACKAGE, *(package.split(".") if package else [])]
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, node.module] if node.module else parts)


def _statements(node: ast.AST, *, at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, at_import
        runs = at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            runs = False
        yield from _statements(child, at_import=runs)


def _own(name: str) -> str | None:
    """The module of ours that an import names ("" for the package itself); None if it is not ours."""
    if name == PACKAGE:
        return ""
    return name.removeprefix(f"{PACKAGE}.") if name.startswith(f"{PACKAGE}.") else None


def _within(name: str, packages: frozenset[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def misplaced_modules(modules: list[Module]) -> list[str]:
    """Modules without a place in `LAYERS`."""
    return [f"{module.path}: not in LAYERS" for module in modules if module.layer is None]


def namespace_folders(modules: list[Module]) -> list[str]:
    """Folders of modules without an `__init__.py`, which tools that walk a package pass over."""
    packages = {module.path.parent for module in modules if module.path.name == "__init__.py"}
    folders = {module.path.parent for module in modules}
    return [f"{folder}: no __init__.py" for folder in sorted(folders - packages)]


def upward_imports(modules: list[Module]) -> list[str]:
    """Imports of a module from a row further out, wherever in the file they stand."""
    rank = {name: place for place, name in enumerate(LAYERS)}
    layers = {module.name: module.layer for module in modules}
    broken = []
    for module in modules:
        for imported in module.imports:
            own = _own(imported.module)
            target = layers.get(own) if own is not None else None
            if target and module.layer and rank[target] > rank[module.layer]:
                broken.append(f"{module.at(imported.line)} {module.layer} imports {imported.module} of {target}")
    return broken


def impure_modules(modules: list[Module]) -> list[str]:
    """I/O, threads and clocks in the rows that decide without them."""
    broken = []
    for module in modules:
        if module.layer not in PURE:
            continue
        broken += [
            f"{module.at(imported.line)} {module.layer} imports {imported.module}"
            for imported in module.imports
            if _within(imported.module, IMPURE_MODULES)
        ]
        broken += [
            f"{module.at(node.lineno)} {module.layer} reads the clock with .{node.func.attr}()"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_READS
        ]
    return broken


def import_cycles(modules: list[Module]) -> list[str]:
    """Rings of modules that import each other while they are being imported."""
    known = {module.name for module in modules}
    graph = {
        module.name: {
            own
            for imported in module.imports
            if imported.at_import and (own := _own(imported.module)) is not None and own in known
        }
        for module in modules
    }
    paths = {module.name: module.path for module in modules}
    done: set[str] = set()
    broken: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            ring = way[way.index(name) :]
            first = ring.index(min(ring))
            ring = (*ring[first:], *ring[: first + 1])
            told = " -> ".join(part or PACKAGE for part in ring)
            broken.append(f"{paths[ring[0]]}: ring of imports {told}")
        elif name not in done:
            for target in sorted(graph[name]):
                visit(target, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return broken


def foreign_names(modules: list[Module]) -> list[str]:
    """Packages named in a file that is not theirs, and files that name more than one."""
    broken = []
    for module in modules:
        seen: set[str] = set()
        for imported in module.imports:
            name = imported.module.partition(".")[0]
            if name == PACKAGE or (name in sys.stdlib_module_names and name not in FOREIGN):
                continue
            if not matches(module.name, FOREIGN.get(name, ())):
                broken.append(f"{module.at(imported.line)} imports {name}, which has its place elsewhere")
            seen.add(name)
        if len(seen - AT_HOME) > 1:
            broken.append(f"{module.path}: names {', '.join(sorted(seen - AT_HOME))}; one per file")
    return broken


def long_modules(modules: list[Module]) -> list[str]:
    return [
        f"{module.path}: {module.lines} lines, at most {MODULE_LINES}"
        for module in modules
        if module.lines > MODULE_LINES
    ]


def long_functions(modules: list[Module]) -> list[str]:
    broken = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _lines_of_code(node)
                if lines > FUNCTION_LINES:
                    broken.append(f"{module.at(node.lineno)} {node.name}: {lines} lines, at most {FUNCTION_LINES}")
    return broken


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def unused_words(modules: list[Module]) -> list[str]:
    """Names of ours with a word that the glossary replaces by a better one."""
    broken = []
    for module in modules:
        if found := _words(module.name.rpartition(".")[2]) & UNUSED_WORDS:
            broken.append(f"{module.path}: {', '.join(sorted(found))} in the name")
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if found := _words(node.name) & UNUSED_WORDS:
                broken.append(f"{module.at(node.lineno)} {node.name}: {', '.join(sorted(found))} in the name")
    return broken


def _words(name: str) -> set[str]:
    """snake_case and CamelCase alike: `HTTPHandler` and `http_handler` are both {http, handler}."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


RULES = (
    misplaced_modules,
    namespace_folders,
    upward_imports,
    impure_modules,
    import_cycles,
    foreign_names,
    long_modules,
    long_functions,
    unused_words,
)
