"""The grammar of patterns and its filters."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pet.errors import PetError
from pet.task.filters import FILTERS, apply_filters
from pet.task.grammar import Field, Mask, Text, parse_template

FIELDS = ("headline", "body")


def problems(source: str, *, mask: bool = True, fields: tuple[str, ...] = FIELDS) -> list[str]:
    with pytest.raises(PetError) as caught:
        parse_template(source, fields, mask=mask)
    return caught.value.problems


# --- what a pattern becomes --------------------------------------------------------------------------


def test_parts_carry_the_space_before_them() -> None:
    template = parse_template("{mask}:  {headline}\n\t({body}) the  end.", FIELDS)
    assert template.segments == (
        (
            Mask(),
            Text(":", space_before=False),
            Field("headline", space_before=True),
            Text("(", space_before=True),
            Field("body"),
            Text(") the end.", space_before=False),
        ),
    )


def test_a_segment_begins_without_space() -> None:
    template = parse_template("  {body}?  ||  {mask}, yes ", FIELDS)
    assert template.segments == (
        (Field("body"), Text("?", space_before=False)),
        (Mask(), Text(", yes", space_before=False)),
    )
    assert template.mask_segment == 1


def test_filters_and_keep_in_any_order() -> None:
    template = parse_template("{mask} {body|strip_punct|lower_first} {body!keep} { body | lower ! keep }", FIELDS)
    assert template.fields == (
        Field("body", ("strip_punct", "lower_first"), space_before=True),
        Field("body", keep=True, space_before=True),
        Field("body", ("lower",), keep=True, space_before=True),
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{{mask}}} {body}", "{[MASK]} B"),
        ("{{mask}} {mask} {body}", "{mask} [MASK] B"),
        ("}}{{ {mask}{body}", "}{ [MASK]B"),
        ("a | b {mask} {body}", "a | b [MASK] B"),
        ("{body}||{mask}", "B || [MASK]"),
    ],
)
def test_literal_braces_and_bars(source: str, expected: str) -> None:
    assert parse_template(source, FIELDS).render({"body": "B"}) == expected


def test_a_template_without_mask() -> None:
    template = parse_template("{headline} || {body}", FIELDS, mask=False)
    assert template.mask_segment is None
    assert template.render({"headline": "H", "body": "B"}) == "H || B"


def test_render_applies_filters() -> None:
    template = parse_template("{body|strip_punct|lower_first}? {mask}!", FIELDS)
    assert template.render({"body": " The End... "}, mask="<mask>") == "the End? <mask>!"


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{mask} {boddy}", ["unknown field 'boddy'", "did you mean 'body'?"]),
        ("{body}", ["no {mask}"]),
        ("{mask} {mask} {body}", ["2 masks"]),
        ("{mask} {body|strip_punkt}", ["unknown filter 'strip_punkt'", "'strip_punct'"]),
        ("{mask} {body|}", ["without a filter"]),
        ("{mask} {body", ["column 8", "never closed"]),
        ("{mask} {body {headline}", ["column 8", "never closed"]),
        ("{mask}} {body}", ["column 7", "}}"]),
        ("", ["empty"]),
        (" \n ", ["empty"]),
        ("{soft} {mask} {body}", ["column 1", "{soft}", "{soft:3}", "{soft:it was}"]),
        ("{soft:} {mask} {body}", ["{soft:}", "{soft:3}"]),
        ("{soft:0} {mask} {body}", ["{soft:0}", "1 to 500"]),
        ("{soft:-2} {mask} {body}", ["{soft:-2}", "1 to 500"]),
        ("{soft:10000000000000} {mask} {body}", ["1 to 500"]),
        ("{soft|lower} {mask} {body}", ["{soft|lower}", "{soft:3}"]),
        ("{mask:3} {body}", ["{mask:3}", "reserved"]),
        ("{mask|lower} {body}", ["{mask|lower}", "no filter"]),
        ("{body} || {headline} || {mask}", ["3 segments"]),
        ("|| {mask} {body}", ["segment 1 is empty"]),
        ("{mask} {body} ||", ["segment 2 is empty"]),
        ("{mask} alone", ["no field"]),
        ("{} {mask} {body}", ["{} is empty"]),
        ("{0} {mask} {body}", ["{0}", "name"]),
        ("{mask} {body.__class__}", ["{body.__class__}", "attributes are not possible", "write {body}"]),
        ("{mask} {body[0]}", ["{body[0]}", "indexes are not possible", "write {body}"]),
        ("{mask} {body()}", ["calls are not possible"]),
        ("{mask} {body!r}", ["{body!r}", "unknown mark '!r'", "!keep"]),
        ("{mask} {body:>10}", ["{body:>10}", "format codes are not possible"]),
        ("{mask} {body + 1}", ["{body + 1}", "cannot read '+ 1'"]),
    ],
)
def test_one_mistake_one_message(source: str, said: list[str]) -> None:
    (problem,) = problems(source)
    for words in said:
        assert words in problem


def test_no_mask_in_an_input_template() -> None:
    assert "no {mask}" in problems("{mask} {body}", mask=False)[0]
    assert "nothing soft" in problems("{soft:3} {body}", mask=False)[0]


def test_all_mistakes_at_once() -> None:
    found = problems("{boddy} {body|lowerr} {body.x} {mask} {mask:2} {soft} } {head")
    said = ["'boddy'", "'lowerr'", "attributes", "{mask:2}", "{soft}", "'}'", "never closed", "2 masks"]
    assert len(found) == len(said)
    for words, problem in zip(said, found, strict=True):
        assert words in problem


def test_a_long_pattern_is_quoted_in_part() -> None:
    (problem,) = problems("x" * 100_000)[:1]
    assert len(problem) < 300


# --- properties --------------------------------------------------------------------------------------

SYNTAX = ["{", "}", "{{", "||", "|", "!keep", "{mask}", "{body}", "{body.__class__}", "{body[0]}", "{body!r}"]
SYNTAX += ["{soft:3}", "[MASK]", "<mask>", "</s>", "%s", "\\", " ", "\n"]
hostile = st.lists(st.sampled_from(SYNTAX) | st.text(max_size=3), max_size=8).map("".join)


@given(headline=hostile, body=hostile)
@example(headline="{body}", body="{headline} [MASK] || {mask}")
@example(headline="{headline.__class__.__mro__}", body="}}{{")
def test_values_are_never_read_as_a_pattern(headline: str, body: str) -> None:
    template = parse_template("<{headline}> {{x}} {mask}: ({body!keep}) || [{headline|strip}]", FIELDS)
    again = parse_template(template.source, FIELDS)
    shown = template.render({"headline": headline, "body": body}, mask="_")
    first, second = headline.strip(), body.strip()
    assert shown == f"<{first}> {{x}} _: ({second}) || [{first}]"
    assert template == again


@given(source=hostile)
def test_any_text_is_a_template_or_one_error(source: str) -> None:
    try:
        template = parse_template(source, FIELDS)
    except PetError as error:
        assert error.problems
        assert all(problem.startswith("pattern ") for problem in error.problems)
        return
    assert len(template.segments) in (1, 2)
    parts = [part for segment in template.segments for part in segment]
    assert sum(isinstance(part, Mask) for part in parts) == 1
    assert {field.name for field in template.fields} <= set(FIELDS)
    assert not any(segment[0].space_before for segment in template.segments)
    texts = [part.text for part in parts if isinstance(part, Text)]
    assert all(text and text == " ".join(text.split()) for text in texts)


@given(words=st.text(st.characters(exclude_characters="|", exclude_categories=("Cs",)), min_size=1))
def test_doubled_braces_write_any_text(words: str) -> None:
    escaped = words.replace("{", "{{").replace("}", "}}")
    template = parse_template(f"{{mask}} {escaped} {{body}}", FIELDS)
    assert template.render({"body": "B"}) == " ".join(f"[MASK] {words} B".split())


# --- filters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("strip_punct", "It rains.", "It rains"),
        ("strip_punct", "Really?! \u201d ", "Really"),
        ("strip_punct", "真好。", "真好"),
        ("strip_punct", "C++ costs 5$", "C++ costs 5$"),
        ("strip_punct", "?!", "?!"),
        ("strip_punct", "", ""),
        ("lower_first", "The end", "the end"),
        ("lower_first", " A dog", "a dog"),
        ("lower_first", "NASA said", "NASA said"),
        ("lower_first", "I think", "I think"),
        ("lower_first", "I'm here", "I'm here"),
        ("lower_first", "It's here", "it's here"),
        ("lower_first", "", ""),
        ("upper_first", "the End", "The End"),
        ("upper_first", "", ""),
        ("lower", "ABC Def", "abc def"),
        ("strip", "  a b ", "a b"),
        ("first_sentence", "It rains. It pours.", "It rains."),
        ("first_sentence", 'He said "no." Then he left.', 'He said "no."'),
        ("first_sentence", "Version 2.5 is out. Get it", "Version 2.5 is out."),
        ("first_sentence", "很好。买了两个", "很好。"),
        ("first_sentence", "no end", "no end"),
        ("first_sentence", "a title\nand a text", "a title"),
    ],
)
def test_filters(name: str, value: str, expected: str) -> None:
    assert apply_filters(value, (name,)) == expected


def test_filters_are_applied_from_left_to_right() -> None:
    assert apply_filters("One. Two.", ("first_sentence", "strip_punct", "lower")) == "one"
    assert apply_filters("One. Two.", ()) == "One. Two."


@given(name=st.sampled_from(sorted(FILTERS)), value=st.text())
def test_a_filter_does_no_more_the_second_time(name: str, value: str) -> None:
    once = apply_filters(value, (name,))
    assert apply_filters(once, (name,)) == once
