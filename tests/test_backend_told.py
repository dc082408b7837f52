"""What a language model says goes on as what it was told does: lines that it has begun, and numbers."""

import pytest
import torch

from backend.model.told import BEGUN, OnlyTold
from backend.train.language_text import train_tokenizer

TOLD = ["The mean rms is 2.31 m/s2.", "The largest rms is 2.87 m/s2, at 14:03:05.", " the mean rms is 2.31 m/s2."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(400, 200, 0)


def written(tokenizer, begun: str, wanted: str, told=TOLD, most: int = 12) -> str:
    """What a model says that has begun so, and that wants to go on with a text, token by token."""
    ids = tokenizer(begun, add_special_tokens=False).input_ids
    lines = [tokenizer(text + tokenizer.eos_token, add_special_tokens=False).input_ids for text in told]
    rule = OnlyTold([lines], tokenizer, 0)
    wish = tokenizer(begun + wanted, add_special_tokens=False).input_ids[len(ids) :]
    for token in wish[:most]:
        scores = torch.full((1, len(tokenizer)), -5.0)
        scores[0, token] = 5.0
        ids = [*ids, int(rule(torch.tensor([ids]), scores).argmax())]
    return tokenizer.decode(ids)


def test_a_number_is_that_of_the_line_that_the_words_are_of(tokenizer):
    assert written(tokenizer, "The mean rms is", " 9.99 m/s2") == "The mean rms is 2.31 m/s2"
    assert written(tokenizer, "The largest rms is", " 2.31 m/s2") == "The largest rms is 2.87 m/s2"


def test_a_number_is_written_to_its_end(tokenizer):
    assert written(tokenizer, "The mean rms is", " 2.3 m/s2.").startswith("The mean rms is 2.31")


def test_a_line_that_has_begun_is_said_to_its_end(tokenizer):
    begun = tokenizer.decode(tokenizer(TOLD[1], add_special_tokens=False).input_ids[:BEGUN])
    assert written(tokenizer, begun, " of nothing at all was heard, or of anything else", most=60).startswith(
        TOLD[1][:-1]
    )


def test_after_a_line_another_may_follow(tokenizer):
    said = written(tokenizer, "Walking:", " the mean rms is 9.99 m/s2, and more.", most=60)
    assert said == "Walking: the mean rms is 2.31 m/s2, and more."
    assert written(tokenizer, TOLD[0][:-1], ".", most=1) == TOLD[0]
    assert written(tokenizer, TOLD[0], "5", most=1) == TOLD[0] + tokenizer.eos_token


def test_words_are_free_and_so_is_what_nothing_was_told_of(tokenizer):
    assert written(tokenizer, "The mean", " loudness rose") == "The mean loudness rose"
    assert written(tokenizer, "Xylophone", "7", told=["a"]) == "Xylophone7"


def test_rows_have_lines_of_their_own(tokenizer):
    told = [[tokenizer(text, add_special_tokens=False).input_ids] for text in ("rms is 1.5", "rms is 8.5")]
    rule = OnlyTold(told, tokenizer, 0)
    ids = torch.tensor([tokenizer("rms is ", add_special_tokens=False).input_ids] * 2)
    scores = torch.zeros(2, len(tokenizer))
    scores[:, tokenizer.convert_tokens_to_ids("4")] = 9.0
    said = [tokenizer.decode([int(t)]) for t in rule(ids, scores).argmax(-1)]
    assert said == ["1", "8"]
