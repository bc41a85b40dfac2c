"""The contract of journals, third part: the values of topics, and what an append does to them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from clarion import json
from clarion.changes import said
from clarion.errors import ClarionError, NoValue, ValueMismatch, ValueTooLarge
from clarion.event import Draft
from clarion.journals.base import Appended, Changed
from clarion.testing.journal_bench import Bench, Suite, contract, following
from clarion.testing.journal_value_bench import carried_out, change, followed_from_now, shown, states, values_of
from clarion.topics import TopicSet
from clarion.values import Change

SMALL_BYTES: Final = 300  # of an event, where a test is about the bound


class ValuesContract(Suite):
    """Changes of values, what they are refused for, and how values are given."""

    @contract
    async def test_a_change_is_an_entry_and_makes_the_value(self, bench: Bench) -> None:
        journal = await bench.open()
        appended = await journal.append(
            [
                change(bench, "t", Change.SET, {"a": "x"}, event="n"),
                bench.draft("t", "plain"),
                change(bench, "t", Change.APPEND, {"a": "y", "b": [1]}),
                change(bench, "t", Change.MERGE, {"b": None}),
            ]
        )
        assert appended == [Appended(offset, False) for offset in range(1, 5)]
        assert await values_of(bench, journal) == (
            [Changed("t", "t", "value", 4, Change.SET, b'{"a":"xy"}')],
            4,
            True,
            0,
        )
        entries = await following(journal, 0, 4)
        assert [entry.change for entry in entries] == [Change.SET, Change.NONE, Change.APPEND, Change.MERGE]
        assert entries[0].frame == f"id: {journal.epoch}-1\n".encode() + (
            b'event: n\ntopic: t\nchange: set\ndata: {"a":"x"}\n\n'
        )
        assert all(entry.value_bytes >= len(b'{"a":"xy"}') for entry in entries[2:])
        assert (await bench.read(journal, 0)) == ([2], 0)

    @contract
    async def test_what_begins_a_value_is_a_set(self, bench: Bench) -> None:
        journal = await bench.open()
        followed = await followed_from_now(journal, 6)
        await journal.append([change(bench, "a", Change.APPEND, {"x": 1}), change(bench, "a", Change.APPEND, {})])
        await journal.append([change(bench, "b", Change.MERGE, {"x": None, "y": 1}, ttl_seconds=1)])
        await journal.append([change(bench, "a", Change.DELETE)])
        await journal.append([change(bench, "a", Change.APPEND, [1])])
        bench.now_ms += 1_000
        await journal.append([change(bench, "b", Change.APPEND, [2])])
        entries = await followed
        said_of = [(said(entry.frame).change, said(entry.frame).data) for entry in entries]
        assert said_of == [
            (Change.SET, b'{"x":1}'),
            (Change.APPEND, b"{}"),
            (Change.SET, b'{"y":1}'),
            (Change.DELETE, b"null"),
            (Change.SET, b"[1]"),
            (Change.SET, b"[2]"),
        ]
        assert [entry.change for entry in entries] == [kind for kind, _ in said_of]
        assert await shown(bench, journal) == {"a": [1], "b": [2]}

    @contract
    async def test_values_come_in_the_order_of_their_last_changes(self, bench: Bench) -> None:
        journal = await bench.open()
        for n in range(30):
            await journal.append([change(bench, f"t/{n * 7 % 10}", Change.SET, n)])
            await bench.append(journal, "plain")
        given = await values_of(bench, journal)
        assert [one.offset for one in given.changed] == sorted(one.offset for one in given.changed)
        assert [json.decode(one.data) for one in given.changed] == list(range(20, 30))
        assert given.through == 60
        for after in (0, 41, 42, 58, 59, 60, 100):
            later = await values_of(bench, journal, after=after)
            assert later == ([one for one in given.changed if one.offset > after], 60, True, 0)

    @contract
    async def test_only_the_topics_that_were_asked_for(self, bench: Bench) -> None:
        journal = await bench.open()
        names = ["a", "a/1", "a/2", "a/1/x", "b", "@user/x", "@user/y", "@all", "@hub/lease", "ä/1", "a0"]
        for name in names:
            await journal.append([change(bench, name, Change.SET, name, subject=f"of {name}")])
        for asked in (
            ("a",),
            ("a/*",),
            ("a/**",),
            ("**",),
            ("*",),
            ("*/1", "b"),
            ("@user/x", "@all"),
            ("a/*", "@user/y"),
            ("nothing",),
            ("ä/*",),
            ("@hub/lease",),
            (*(f"t/{n}" for n in range(300)), "b", "a/2"),
        ):
            topics = TopicSet(asked)
            expected = {f"of {name}": name for name in names if topics.matches(name)}
            assert await shown(bench, journal, *asked) == expected, asked
            exact = await values_of(bench, journal, *asked, after=3, exact=True)
            assert [one.topic for one in exact.changed] == [name for name in names[3:] if topics.matches(name)], asked
        assert await shown(bench, journal) == {f"of {name}": name for name in names}
        assert await values_of(bench, journal, "") == ([], len(names), True, 0)

    @contract
    async def test_a_topic_has_a_value_for_each_subject(self, bench: Bench) -> None:
        journal = await bench.open()
        for n in range(40):
            await journal.append([change(bench, "@user/x", Change.APPEND, [n], subject=f"task/{n % 4}")])
            await journal.append([change(bench, f"task/{n % 4}", Change.SET, "everyone's")])
        await journal.append([change(bench, "@user/x", Change.DELETE, subject="task/0")])
        assert await shown(bench, journal, "@user/x") == {f"task/{m}": list(range(m, 40, 4)) for m in (1, 2, 3)}
        assert await shown(bench, journal, "task/0") == {"task/0": "everyone's"}

    @contract
    async def test_what_changed_since_makes_the_value_of_what_it_was(self, bench: Bench) -> None:
        """From any offset: by the changes since or by the value, whichever the journal gives."""
        journal = await bench.open()
        script: list[tuple[str, Change, Any]] = []
        for n in range(60):
            script += [
                ("text", Change.APPEND, f"word {n} "),
                ("object", Change.MERGE, {"n": n, "deep": None if n % 3 else {f"k{n}": n}}),
                ("mixed", Change.SET, {"list": [n]}) if not n % 7 else ("mixed", Change.APPEND, {"list": [n]}),
            ]
            if n % 20 == 10:
                script += [("gone", Change.SET, n), ("gone", Change.DELETE, None), ("text", Change.MERGE, {"n": n})]
                script += [("text", Change.SET, "anew ")]
        newest = 2 * len(script)
        followed = await followed_from_now(journal, newest)
        for topic, kind, data in script:
            await journal.append([change(bench, topic, kind, data), bench.draft("plain")])
        known = states(await followed)
        for after in range(0, newest + 1, 5):
            for exact in (True, False):
                given = await values_of(bench, journal, after=after, exact=exact)
                assert given.complete
                assert carried_out(known[after] if exact or after else {}, given.changed) == known[-1]
                if not exact:
                    assert {one.change for one in given.changed} <= {Change.SET, Change.DELETE}
        given = await values_of(bench, journal, "text", "mixed", after=newest - 6, exact=True)
        sizes = {one.topic: len(one.data) for one in given.changed}
        assert sizes["text"] <= len(json.encode(known[-1]["text", "text"]))

    # What is refused

    @contract
    async def test_a_change_that_does_not_fit_refuses_its_batch_and_changes_nothing(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append([change(bench, "t", Change.SET, {"a": {"b": "x"}})])
        bad: list[tuple[Draft, type[ClarionError]]] = [
            (change(bench, "t", Change.APPEND, {"a": {"b": [1]}}), ValueMismatch),
            (change(bench, "t", Change.APPEND, "text"), ValueMismatch),
            (change(bench, "none", Change.DELETE), NoValue),
            (change(bench, "t", Change.APPEND, {"c": "x" * 200}, max_event_bytes=270), ValueTooLarge),
        ]
        good = [change(bench, "t", Change.MERGE, {"e": 1}, key="k"), bench.draft("t", key="k2")]
        for draft, error in bad:
            if error is ValueTooLarge:
                await journal.append([change(bench, "t", Change.MERGE, {"d": "x" * 100})])
            newest = (await journal.bounds()).newest
            before = await values_of(bench, journal)
            for place in range(3):
                batch = [*good[:place], draft, *good[place:], change(bench, "new", Change.SET, 1)]
                with pytest.raises(error):
                    await journal.append(batch)
            assert await values_of(bench, journal) == before
            assert await journal.bounds() == (newest + 1, newest)
            assert await journal.last_change() == before.changed[-1].offset
        assert [one.duplicate for one in await journal.append(good)] == [False, False]

    @contract
    async def test_others_do_not_suffer_by_what_is_refused(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append([change(bench, "t", Change.SET, "")])

        def batch(caller: int) -> list[Draft]:
            good = [change(bench, "t", Change.APPEND, f"<{caller}>"), bench.draft("plain", caller)]
            return [*good, change(bench, "t", Change.APPEND, [caller])] if caller % 5 == 2 else good

        outcomes = await asyncio.gather(*(journal.append(batch(n)) for n in range(40)), return_exceptions=True)
        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ValueMismatch)]
        assert refused == list(range(2, 40, 5))
        by_offset = {outcome[0].offset: n for n, outcome in enumerate(outcomes) if isinstance(outcome, list)}
        assert len(by_offset) == 32
        assert await shown(bench, journal) == {"t": "".join(f"<{by_offset[offset]}>" for offset in sorted(by_offset))}

    @contract
    async def test_a_value_is_no_larger_than_the_drafts_allow(self, bench: Bench) -> None:
        journal = await bench.open()
        followed = await followed_from_now(journal, 52)
        sized = {"max_event_bytes": SMALL_BYTES}
        await journal.append([change(bench, "t", Change.SET, {"a": "x" * 100}, **sized)])
        most = change(bench, "t", Change.APPEND, {}, **sized).max_value_bytes
        room = most - len(json.encode({"a": "x" * 100}))
        with pytest.raises(ValueTooLarge):
            await journal.append([change(bench, "t", Change.APPEND, {"a": "y" * (room + 1)}, **sized)])
        await journal.append([change(bench, "t", Change.APPEND, {"a": "y" * room}, **sized)])
        for n in range(50):  # what replaces does not add up
            await journal.append([change(bench, "t", Change.MERGE, {"a": f"{n}" + "z" * 100}, **sized)])
        assert await shown(bench, journal) == {"t": {"a": "49" + "z" * 100}}
        assert all(entry.value_bytes <= most for entry in await followed)

    @contract
    async def test_a_key_makes_a_change_once(self, bench: Bench) -> None:
        journal = await bench.open()
        draft = change(bench, "t", Change.APPEND, "x", key="k")
        first, twin = await journal.append([draft, draft])
        (again,) = await journal.append([change(bench, "t", Change.SET, [1], key="k")])
        assert twin == again == Appended(first.offset, True)
        assert await shown(bench, journal) == {"t": "x"}
        assert await journal.last_change() == first.offset
        same = change(bench, "t", Change.APPEND, [1], key="k")  # it would not fit any more, and need not
        assert await journal.append([same, change(bench, "t", Change.APPEND, "y"), same]) == [
            again,
            Appended(first.offset + 1, False),
            again,
        ]
        assert await shown(bench, journal) == {"t": "xy"}

    # Moments and pages

    @contract
    async def test_pages_of_values_leave_nothing_out(self, bench: Bench) -> None:
        journal = await bench.open()
        names = [f"t/{n}" if n % 3 else f"other/{n}" for n in range(120)]
        await journal.append([change(bench, name, Change.SET, name + "x" * (n % 50)) for n, name in enumerate(names)])
        for asked in (("t/*",), ("**",), (), tuple(names[:100])):
            for max_bytes in (1, 100, 1_000):
                got: list[Changed] = []
                after = 0
                while True:
                    page = await values_of(bench, journal, *asked, after=after, max_bytes=max_bytes)
                    assert page.changed
                    assert sum(len(one.data) for one in page.changed[:-1]) < max_bytes
                    got += page.changed
                    if page.complete:
                        break
                    after = page.changed[-1].offset
                assert (got, 120) == (await values_of(bench, journal, *asked))[:2]

    @contract
    async def test_all_is_as_of_one_moment(self, bench: Bench) -> None:
        """Two values that are only ever changed together are never seen apart."""
        journal = await bench.open()
        done = False

        async def write(caller: int) -> None:
            for n in range(25):
                pair = [change(bench, name, Change.SET, [caller, n]) for name in ("left", "right")]
                await journal.append(pair if n % 2 else pair[::-1])

        async def look() -> None:
            while not done:
                given = await values_of(bench, journal, "left", "right")
                assert len({one.data for one in given.changed}) <= 1
                assert all(one.offset <= given.through for one in given.changed)
                await asyncio.sleep(0)

        looking = [asyncio.create_task(look()) for _ in range(3)]
        await asyncio.gather(*(write(caller) for caller in range(4)))
        done = True
        await asyncio.gather(*looking)

    @contract
    async def test_changes_of_many_callers_are_applied_in_the_order_of_their_offsets(self, bench: Bench) -> None:
        journal = await bench.open()
        texts: dict[int, str] = {}

        async def write(caller: int) -> None:
            for n in range(10):
                (done,) = await journal.append([change(bench, "t", Change.APPEND, f"<{caller}.{n}>")])
                texts[done.offset] = f"<{caller}.{n}>"

        await asyncio.gather(*(write(caller) for caller in range(30)))
        assert await shown(bench, journal) == {"t": "".join(texts[offset] for offset in sorted(texts))}

    @contract
    async def test_the_newest_change_is_known(self, bench: Bench) -> None:
        journal = await bench.open()
        assert await journal.last_change() == 0
        await bench.append(journal, "a", "b")
        assert await journal.last_change() == 0
        await journal.append([change(bench, "a", Change.SET, 1), bench.draft("a")])
        assert await journal.last_change() == 3
        await journal.append([change(bench, "b", Change.SET, 1), change(bench, "b", Change.DELETE)])
        assert await journal.last_change() == 6
