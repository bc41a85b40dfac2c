from clarion.progress.merging import contributions
from clarion.progress.reading import StepReading
from clarion.progress.shared import Node, Part


def node(parent, name="", key=-1, total=None, status="running", weight=1.0):
    return Node(parent, key, name, weight, total, status)


def test_counts_of_all_processes_add_up_by_the_owners_steps():
    one = Part((node(-1, key=0), node(-1, key=3)), (5.0, 1.0), "", 0)
    other = Part((node(-1, key=3),), (2.0,), "", 0)
    found = contributions([one, other])
    assert {key: added.amount for key, added in found.items()} == {0: 5.0, 3: 3.0}


def test_nothing_is_nothing():
    assert contributions([]) == {}
    assert contributions([Part((), (), "", 0)]) == {}


def test_steps_of_one_name_are_one_step():
    one = Part((node(-1, key=0), node(0, "Load", total=10), node(1, "part")), (0.0, 4.0, 1.0), "", 0)
    other = Part(
        (node(-1, key=0), node(0, "Load", total=6, status="completed"), node(0, "Own")), (0.0, 6.0, 0.0), "", 0
    )
    (load, own) = contributions([one, other])[0].steps
    assert load == StepReading("Load", "running", 1.0, 10.0, 16, (StepReading("part", "running", 1.0, 1.0, None),))
    assert own.name == "Own"


def test_a_step_is_completed_when_all_have_completed_it():
    parts = [Part((node(-1, key=0), node(0, "Load", status="completed")), (0.0, 1.0), "", 0)] * 2
    (load,) = contributions(parts)[0].steps
    assert (load.status, load.current, load.total) == ("completed", 2.0, None)
