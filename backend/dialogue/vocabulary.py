"""Words that claim, relate or ask something, and whether a stranger's name is none of them.

A device's name stands in sentences that are checked, and in questions that are understood: one that is called `99` or
`is` would take a word out of both. Which names there are it does not know.
"""

from __future__ import annotations

import re
from functools import lru_cache

from backend.dialogue.times import NUMBERS
from backend.dialogue.wordings import ASK, SPAN_SAID
from backend.dialogue.words import (
    HEARD_FACTS,
    NEVER_THERE,
    NEVER_TOLD,
    ROOMS,
    SAID_FACTS,
    SPELLED,
    STAT_WORDS,
    WORN,
    fact_name,
)
from edge.facts import FACTS

CONVERTED = {
    "min": ("s", 60.0), "minute": ("s", 60.0), "minutes": ("s", 60.0), "h": ("s", 3600.0), "hours": ("s", 3600.0),
    "hour": ("s", 3600.0), "ms": ("s", 0.001), "milliseconds": ("s", 0.001), "sec": ("s", 1.0), "khz": ("Hz", 1000.0),
    "cm": ("m", 0.01), "centimetres": ("m", 0.01), "centimeters": ("m", 0.01), "mm": ("m", 0.001), "km": ("m", 1000.0),
    "km/h": ("m/s", 1 / 3.6), "kilometres per hour": ("m/s", 1 / 3.6), "kilometers per hour": ("m/s", 1 / 3.6),
}  # fmt: skip
"""Units that are said for others, and how much of those they are."""
MORE = {
    "louder": "audio.level", "faster": "speed", "hotter": "thermal.hottest", "warmer": "thermal.hottest",
    "brighter": "brightness", "noisier": "audio.level",
}  # fmt: skip
LESS = {
    "quieter": "audio.level", "slower": "speed", "colder": "thermal.coldest", "cooler": "thermal.coldest",
    "darker": "brightness", "nearer": "nearest", "closer": "nearest",
}  # fmt: skip
WAYS = {
    "larger": ("larger", "higher", "greater", "bigger", "more", "stronger", *MORE),
    "smaller": ("smaller", "lower", "less", "fewer", "weaker", *LESS),
    "same": ("same", "equal", "equals", "equally", "identical"),
    "rose": (
        "rose", "rises", "risen", "rising", "increased", "increases", "increasing", "grew", "grown", "climbed",
        "went up", "gone up",
    ),
    "fell": (
        "fell", "falls", "fallen", "falling", "decreased", "decreases", "decreasing", "dropped", "declined",
        "went down", "gone down",
    ),
    "stayed": (
        "stayed", "stays", "remained", "remains", "unchanged", "constant", "steady", "did not change",
        "didn't change", "no change",
    ),
    "before": ("before", "preceded", "preceding", "prior to", "followed by"),
    "after": ("after", "followed", "following", "preceded by"),
    "then": ("then", "afterwards"),
    "first": ("first",),
    "last": ("last", "most recently"),
    "while": ("while", "during", "when", "whilst"),
    "than": ("than",),
    "in all": ("in all", "in total", "total", "altogether"),
    "yes": ("yes", "indeed"),
}  # fmt: skip
"""How things relate, and the words that say so. Rain follows barking: rain came `after` what stands behind the word."""
NEUTRAL = frozenset({
    "a", "about", "according", "activities", "activity", "against", "also", "am", "amount", "amounted", "amounts", "an",
    "and", "answer", "any", "approximately", "are", "around", "as", "asked", "at", "available", "be", "because", "been",
    "being", "between", "but", "by", "came", "can", "come", "comes", "compared", "correspond", "corresponding",
    "corresponds", "data", "detect", "detected", "device", "devices", "did", "do", "does", "episode", "episodes",
    "event", "events", "figure", "for", "found", "from", "gave", "give", "given", "gives", "going on", "had", "happen",
    "happened", "happening", "happens", "has", "have", "he", "hear", "heard", "her", "here", "here's", "him", "his",
    "i", "i'm", "in", "indicate", "indicated", "indicates", "information", "interval", "is", "it", "it's", "its",
    "itself", "label", "labels", "lasted", "like", "likely", "listed", "me", "measure", "measured", "measurement",
    "measurements", "measures", "moment", "my", "names", "noticed", "number", "observed", "occasion", "occasions",
    "occurred", "occurs", "of", "on", "or", "our", "over", "part", "perhaps", "period", "person", "possibly", "present",
    "probably", "question", "read", "reading", "readings", "reads", "recognise", "recognised", "recognize", "recorded",
    "records", "registered", "report", "reported", "reports", "respectively", "roughly", "said", "say", "says", "see",
    "seem", "seemed", "seems", "seen", "sensor", "sensors", "she", "show", "showed", "showing", "shown", "shows",
    "since", "so", "some", "somebody", "someone", "sound", "sounded", "sounds", "state", "states", "suggest",
    "suggests", "tell", "telling", "tells", "that", "that's", "the", "their", "them", "there", "there's", "these",
    "they", "thing", "things", "this", "those", "thus", "till", "time", "times", "to", "told", "took place", "until",
    "us", "user", "value", "values", "versus", "vs", "was", "we", "were", "what", "where", "whereas", "which", "who",
    "window", "windows", "with", "within", "you", "your",
})  # fmt: skip
"""Words that claim nothing by themselves."""
PLACES = frozenset({*ROOMS, *WORN, "left", "right", "window", "screen", "panel"})
"""Where sensors are: names, whatever else they mean."""
_TIMES = ("noon", "midnight", "midday", "ago", "past", "half", "quarter", "second", "minute", "hour")
_DENIALS = (
    "cannot", "can't", "couldn't", "don't", "not", "no", "never", "none", "nothing", "nobody", "neither", "nor",
)  # fmt: skip


def may_name(word: str) -> bool:
    """Whether a word can be a name: it begins with no digit, and says nothing by itself, nor does its plural."""
    low = word.casefold()
    return low in PLACES or (low != "" and not low[0].isdigit() and not {low, f"{low}s"} & _meant())


@lru_cache
def _meant() -> frozenset[str]:
    facts = [fact_name(fact) for fact in FACTS]
    facts += [name for table in (SAID_FACTS, HEARD_FACTS) for several in table.values() for name in several]
    units = [name for unit in {*FACTS.values(), *SPELLED} for name in (unit, *SPELLED.get(unit, ()))]
    asked = [form for said in (*ASK.values(), *SPAN_SAID.values()) for form in (*said.learned, *said.held_out)]
    related = [word for table in (STAT_WORDS, WAYS) for several in table.values() for word in several]
    listed = (*facts, *units, *asked, *related, *NEUTRAL, *NUMBERS, *CONVERTED, *NEVER_TOLD, *NEVER_THERE)
    whole = (*listed, *_TIMES, *_DENIALS)
    return frozenset(word for said in whole for word in re.findall(r"[^\W_]+(?:['/][^\W_]+)*", said.casefold()))
