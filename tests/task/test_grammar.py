"""The pattern grammar and its filters."""

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


# --- valid patterns ----------------------------------------------------------------------------------


def test_parts_record_the_space_before_them() -> None:
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


def test_a_segment_starts_without_space() -> None:
    template = parse_template("  {body}?  ||  {mask}, yes ", FIELDS)
    assert template.segments == (
        (Field("body"), Text("?", space_before=False)),
        (Mask(), Text(", yes", space_before=False)),
    )
    assert template.mask_segment == 1


def test_filters_and_keep_may_be_combined_in_any_order() -> None:
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
def test_doubled_braces_are_literal_and_double_bars_split_segments(source: str, expected: str) -> None:
    assert parse_template(source, FIELDS).render({"body": "B"}) == expected


def test_an_input_template_has_no_mask() -> None:
    template = parse_template("{headline} || {body}", FIELDS, mask=False)
    assert template.mask_segment is None
    assert template.render({"headline": "H", "body": "B"}) == "H || B"


def test_render_applies_filters() -> None:
    template = parse_template("{body|strip_punct|lower_first}? {mask}!", FIELDS)
    assert template.render({"body": " The End... "}, mask="<mask>") == "the End? <mask>!"


# --- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{mask} {boddy}", ["field 'boddy'", "did you mean 'body'?"]),
        ("{body}", ["no {mask}"]),
        ("{mask} {mask} {body}", ["2 masks"]),
        ("{mask} {body|strip_punkt}", ["filter 'strip_punkt'", "'strip_punct'"]),
        ("{mask} {body|}", ["{body|}", "filter", "strip_punct"]),
        ("{mask} {body", ["column 8", "'{'", "'}'"]),
        ("{mask} {body {headline}", ["column 8", "'{'", "'}'"]),
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
        ("{mask|lower} {body}", ["{mask|lower}", "filter", "{mask}"]),
        ("{body} || {headline} || {mask}", ["3 segments"]),
        ("|| {mask} {body}", ["segment 1", "empty"]),
        ("{mask} {body} ||", ["segment 2", "empty"]),
        ("{mask} alone", ["no field", "headline, body"]),
        ("{} {mask} {body}", ["{}", "empty", "headline, body"]),
        ("{0} {mask} {body}", ["{0}", "name"]),
        ("{mask} {body.__class__}", ["{body.__class__}", "attributes", "write {body}"]),
        ("{mask} {body[0]}", ["{body[0]}", "indexes", "write {body}"]),
        ("{mask} {body()}", ["{body()}", "calls"]),
        ("{mask} {body!r}", ["{body!r}", "mark '!r'", "!keep"]),
        ("{mask} {body:>10}", ["{body:>10}", "format codes"]),
        ("{mask} {body + 1}", ["{body + 1}", "'+ 1'"]),
    ],
)
def test_a_mistake_gives_one_message_that_names_it(source: str, named: list[str]) -> None:
    (problem,) = problems(source)
    assert [words for words in named if words not in problem] == []


def test_mask_and_soft_tokens_are_rejected_in_an_input_template() -> None:
    assert "{mask}" in problems("{mask} {body}", mask=False)[0].partition(": ")[2]
    assert "{soft}" in problems("{soft:3} {body}", mask=False)[0].partition(": ")[2]


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems("{boddy} {body|lowerr} {body.x} {mask} {mask:2} {soft} } {head")
    named = ["'boddy'", "'lowerr'", "attributes", "{mask:2}", "{soft}", "'}'", "closed", "2 masks"]
    assert len(found) == len(named)
    for words, problem in zip(named, found, strict=True):
        assert words in problem


def test_a_long_pattern_is_abbreviated_in_messages() -> None:
    (problem,) = problems("x" * 100_000)[:1]
    assert len(problem) < 300


# --- properties --------------------------------------------------------------------------------------

SYNTAX = ["{", "}", "{{", "||", "|", "!keep", "{mask}", "{body}", "{body.__class__}", "{body[0]}", "{body!r}"]
SYNTAX += ["{soft:3}", "[MASK]", "<mask>", "</s>", "%s", "\\", " ", "\n"]
hostile = st.lists(st.sampled_from(SYNTAX) | st.text(max_size=3), max_size=8).map("".join)


@given(headline=hostile, body=hostile)
@example(headline="{body}", body="{headline} [MASK] || {mask}")
@example(headline="{headline.__class__.__mro__}", body="}}{{")
def test_field_values_are_never_parsed(headline: str, body: str) -> None:
    template = parse_template("<{headline}> {{x}} {mask}: ({body!keep}) || [{headline|strip}]", FIELDS)
    again = parse_template(template.source, FIELDS)
    shown = template.render({"headline": headline, "body": body}, mask="_")
    first, second = headline.strip(), body.strip()
    assert shown == f"<{first}> {{x}} _: ({second}) || [{first}]"
    assert template == again


@given(source=hostile)
def test_any_string_gives_a_valid_template_or_a_pet_error(source: str) -> None:
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
def test_text_with_doubled_braces_renders_literally(words: str) -> None:
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
        ("first_sentence", "本当ですか？「はい。」と答えた。", "本当ですか？"),
        ("first_sentence", "「いいえ。」と言った。", "「いいえ。」"),
        ("first_sentence", "هل هذا جيد؟ نعم.", "هل هذا جيد؟"),
        ("first_sentence", "यह अच्छा है। वह नहीं।", "यह अच्छा है।"),
        ("first_sentence", "„Gut.“ Das sagte er.", "„Gut.“"),
        ("first_sentence", "no end", "no end"),
        ("first_sentence", "a title\nand a text", "a title"),
    ],
)
def test_filters_transform_text(name: str, value: str, expected: str) -> None:
    assert apply_filters(value, (name,)) == expected


def test_filters_apply_from_left_to_right() -> None:
    assert apply_filters("One. Two.", ("first_sentence", "strip_punct", "lower")) == "one"
    assert apply_filters("One. Two.", ()) == "One. Two."


@given(name=st.sampled_from(sorted(FILTERS)), value=st.text())
def test_filters_are_idempotent(name: str, value: str) -> None:
    once = apply_filters(value, (name,))
    assert apply_filters(once, (name,)) == once
