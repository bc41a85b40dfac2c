import pytest

from clarion.errors import InvalidTopic
from clarion.work.addresses import MAX_ADDRESSES, Address, addresses, from_json, to_json


def test_a_work_without_a_user_is_for_the_readers_of_its_topic():
    assert addresses("import:42") == (Address("import:42", None),)


def test_a_users_work_is_that_users_alone():
    assert addresses("import:42", user="ann") == (Address("import:42", "ann"),)


def test_several_users_have_an_address_each_and_nobody_twice():
    found = addresses("import:42", user="ann", users=["bob", "ann"])
    assert found == (Address("import:42", "ann"), Address("import:42", "bob"))


def test_named_topics_stand_beside_users():
    found = addresses("import:42", user="ann", topics=["admin/imports"])
    assert found == (Address("import:42", "ann"), Address("admin/imports", None))


def test_named_topics_alone_are_instead_of_the_works_own():
    assert addresses("import:42", topics=["admin/imports"]) == (Address("admin/imports", None),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": ""},
        {"user": "a\nb"},
        {"users": ["ann", 7]},
        {"topics": ["@all"]},
        {"topics": ["orders/*"]},
        {"users": [f"u{n}" for n in range(MAX_ADDRESSES + 1)]},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidTopic):
        addresses("import:42", **wrong)


@pytest.mark.parametrize("wrong", [{"users": "ann"}, {"topics": "orders"}])
def test_a_text_is_not_a_list_of_names(wrong):
    with pytest.raises(TypeError):
        addresses("import:42", **wrong)


def test_a_work_needs_a_topic_of_the_app():
    with pytest.raises(InvalidTopic):
        addresses("@user/ann")


def test_json_and_back():
    found = addresses("import:42", users=["ann"], topics=["x"])
    assert from_json(to_json(found)) == found


@pytest.mark.parametrize(
    "said", [None, [], [["a"]], [["a", None, 1]], ["ab"], [["@all", None]], [["a", ""]], [[1, None]]]
)
def test_json_of_strangers_is_refused(said):
    with pytest.raises(ValueError):
        from_json(said)
