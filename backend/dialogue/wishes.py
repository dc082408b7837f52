"""What a question wants, and which tasks it asks, by how it is worded: tables of patterns over text in small letters.

What the question is about (sensors, facts, labels, times) it does not know.
"""

from __future__ import annotations

import re
from functools import lru_cache

WISHES = {
    "sensors": (
        r"(?:which|what|how many|name the|list the|number of|count the|are there any) (?:\w+ )?(?:sensors|devices)\b",
        r"\bwhat measures\b",
    ),
    "exists": (r"\b(?:is|are) there (?:a|an|any)\b", r"\b(?:do|does|have) \w+ (?:have )?(?:a|an|any)\b"),
    "facts": (
        r"\b(?:what|which) (?:\w+ )?(?:facts|numbers|quantities|values)\b",
        r"\bwhat (?:does|can|do) .*(?:tell|measure|report|sense|provide)\b",
    ),
    "unit": (r"\bunits?\b",),
    "known": (
        r"\b(?:what|which) (?:\w+ )*(?:activities|sounds|events|labels|gestures|fingers|things) (?:can|do|could) you\b",
        r"\bwhat can you (?:tell(?! me)|recogni|detect)",
    ),
    "hello": (
        r"^(?:hello|hi|hey|good (?:morning|day|evening|afternoon)|who are you|what are you|help|thanks|thank you)\b",
        r"^what can you do\b",
    ),
    "compare": (
        r"\bthan\b(?! (?:before|earlier|#))", r"\bcompared?\b", r"\bwhich of\b", r"\bor (?:the|on|in|for|at)\b",
        r"\blarger for\b", r"\bboth\b", r"\bdiffer", r"\b(?:vs|versus)\b",
        r"\bwhich (?:\w+ )?(?:one|sensor|side|room|place|device|wrist|hand|ankle|imu|microphone|camera)\b",
    ),
    "change": (
        r"\b(?:ris(?:e|es|en|ing)|rose|fall(?:s|en|ing)?|fell|chang(?:e|es|ed|ing)|increas(?:e|es|ed|ing)|trend)\b",
        r"\b(?:decreas(?:e|es|ed|ing)|grow(?:n|s|ing)?|grew|drop(?:s|ped|ping)?|than before|than earlier)\b",
        r"\bthan #",
        r"\b(?:go|goes|gone|going|went) (?:up|down)\b", r"\b(?:get|gets|got|getting|become|became) \w+er\b",
    ),
    "long": (
        r"\bhow long\b(?! ago)", r"\bhow many (?:seconds|minutes|hours)\b", r"\bhow much time\b",
        r"\b(?:length|duration) of\b", r"\bfor how\b",
    ),
    "often": (
        r"\bhow often\b", r"\bhow many times\b", r"\bcount how\b", r"\bnumber of times\b", r"\bhow frequently\b",
    ),
    "when": (
        r"^(?:and |so |but |then )?when\b", r"\b(?:since|until|from|tell me|say|know) when\b",
        r", when (?:was|did|is)\b",
        r"\bat (?:what|which) (?:time|moment)\b", r"\bwhat time\b", r"\bwhich moment\b", r"\bhow long ago\b",
        r"\bbetween which times\b", r"\btell me the time\b",
    ),
    "before": (r"\bbefore\b", r"\bprior to\b", r"\bpreced\w+", r"\bled up to\b"),
    "after": (r"\bafter\b", r"\bfollow\w*", r"\bnext\b", r"\bthen came\b"),
    "meanwhile": (
        r"\b(?:while|during|meanwhile|at the same time)\b",
        r"\w (?<!me )(?<!say )(?<!since )(?<!until )(?<!from )(?<!know )when (?!was\b|did\b|is\b)",
    ),
    "describe": (
        r"\b(?:describe|caption|summar\w+|what is going on|what happens here|tell me what happens|report)\b",
    ),
    "first": (r"\bfirst\b",),
    "past": (
        r"\bhappened\b", r"\bwhat was (?:heard|seen|going on)\b", r"\bwhat (?:was|were) \w+(?: \w+)? doing\b",
        r"\bwhat did \w+(?: \w+)? do\b",
    ),
}  # fmt: skip
"""What a question may want, by how it is worded."""
TASK_WORDS = {
    "event-detection": r"\b(?:hear|heard|sounds?|noises?|audible|listen\w*|acoustic|audio|microphone hears?)\b",
    "gesture-classification": (
        r"\b(?:gestures?|phone (?:is|being) moved|hand do with the phone|how is the phone)\b"
    ),
    "touch-contact": r"\b(?:finger|fingers|touches the panel|touching the panel|on the panel|contact can)\b",
    "activity-recognition": (
        r"\b(?:activity|activities|doing|do with|going on|happen\w*|person|somebody|someone|action)\b"
    ),
}  # fmt: skip
"""Words that a task is asked by."""


def wishes_of(text: str) -> frozenset[str]:
    """What a text may want."""
    return frozenset(name for name, pattern in _compiled().items() if pattern.search(text))


def tasks_of(text: str) -> tuple[str, ...]:
    """The tasks that a text asks."""
    return tuple(task for task, pattern in TASK_WORDS.items() if re.search(pattern, text))


@lru_cache
def _compiled() -> dict[str, re.Pattern[str]]:
    return {name: re.compile("|".join(patterns)) for name, patterns in WISHES.items()}
