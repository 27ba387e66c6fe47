"""Challenge prompts: short chats as people write them, drawn from a grammar by a secret seed; there is no pool.

The seed comes from the verifier's assignment output, which nobody knows before the challenges are opened. Some 10^9
different prompts; sampling values follow what users of an OpenAI client send. Section 2 of `docs/verification.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from network.crypto import sha256
from network.inference import Sampling

T = TypeVar("T")

MIN_TOKENS, MAX_TOKENS = 32, 48


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_THINGS = _listed(
    "sourdough bread|compost|a bicycle chain|photosynthesis|compound interest|noise-cancelling headphones|black holes|"
    "a heat pump|the water cycle|blockchains|vaccines|the French Revolution|chess openings|jazz|tides|glaciers|a camera lens|"
    "solar panels|the Roman aqueducts|bees|volcanoes|inflation|an electric guitar|antibiotics|public-key encryption|recursion|"
    "garbage collection|a kettle|plate tectonics|rainbows|credit scores|sleep|migraine|marathon training|haiku|origami|"
    "the stock market|neural networks|the moon landing|submarines|tea|cheese|the Silk Road|GPS|elections|friction|"
    "a sewing machine|coral reefs|the violin|earthquakes|fermentation|the periodic table|memory|lighthouses|mushrooms|"
    "a hash table|object-oriented programming|the immune system|wind turbines|maps|satellites|soap|gravity|magnets|"
    "the Great Wall|sourcing coffee beans|knitting|asteroids|the alphabet|penguins|batteries|bridges|fractions|dinosaurs"
)
_PEOPLE = _listed(
    "my grandmother|a ten year old|my team|a busy manager|someone new to it|my neighbour|a student|my daughter|"
    "a tourist|an engineer|my flatmate|a job interview|my book club|a beginner|a colleague|the local newspaper"
)
_PLACES = _listed(
    "Lisbon|Kyoto|a small apartment|the countryside|Nairobi|a rainy city|Montreal|the Alps|Buenos Aires|a desert town|"
    "Oslo|the beach|Hanoi|a crowded office|Edinburgh|a school|Cape Town|the suburbs"
)
_FOODS = _listed(
    "rice and two eggs|a bag of lentils|leftover chicken|only potatoes|tomatoes and pasta|chickpeas|some old bananas|"
    "mushrooms and cream|tofu|half a cabbage|oats|tinned fish|sweet potatoes|stale bread|a jar of pesto|courgettes"
)
_JOBS = _listed(
    "write an email that asks for a day off|name a small bakery|plan a weekend|write a birthday wish|apologise for being late|"
    "start a conversation with a stranger|learn ten words of Spanish|save money every month|remember names|sleep better|"
    "prepare for an exam|organise my desk|choose a laptop|train a puppy|write a short toast|stop procrastinating|"
    "keep plants alive|pack for three days|say no politely|write a product description for a lamp|begin to run|"
    "describe a sunset|introduce myself in a meeting|pick a gift for a friend|write a two line poem"
)
_CODE = _listed(
    "reverse a string|read a CSV file|count words in a text|sort a list of dates|find duplicates in a list|"
    "flatten a nested list|check for a palindrome|merge two dictionaries|parse a URL|round to two decimals|"
    "retry a request three times|compute a factorial|remove empty lines|swap two variables|find the longest word"
)
_LANGUAGES = ("Python", "JavaScript", "Java", "C", "Go", "Rust", "SQL", "Ruby", "bash", "TypeScript")

_FORMS = _listed(
    "What is {thing}?|How does {thing} work?|Explain {thing} to {person}.|Why does {thing} matter?|"
    "Tell me something surprising about {thing}.|Give me three facts about {thing}.|Compare {thing} and {thing}.|"
    "Can you {job}?|Help me {job}.|How do I {job}?|What should I cook with {food}?|A quick recipe for {food}.|"
    "What can I do in {place} for {number} days?|Write a {number} line story set in {place}.|"
    "How do I {code} in {language}?|Show me how to {code} in {language}.|What is {number} times {number}?|"
    "I have to talk about {thing} in front of {person}. Where do I start?|Is {thing} hard to understand?|"
    "Summarise the history of {thing}.|What are common mistakes with {thing}?|Write a headline about {thing} in {place}.|"
    "Translate 'I like {thing}' into French.|Who invented {thing}?|Name {number} things people get wrong about {thing}.|"
    "If I move to {place}, what should I know?|Describe {place} in one sentence.|Make up a joke about {thing}.|"
    "What would you say to {person} about {thing}?|Pros and cons of {thing}?|How long does it take to {job}?"
)
_OPENINGS = (
    "",
    "",
    "",
    "",
    "",
    "",
    "Hi! ",
    "Hello, ",
    "hey ",
    "Quick question: ",
    "Please help. ",
    "ok so ",
    "One thing: ",
    "I wonder: ",
)
_ENDINGS = _listed(
    "|||||||| Keep it short.| Thanks!| In one or two sentences, please.| Be brief.| Simple words please.| thx|"
    " No bullet points.| I am in a hurry.| Just the main idea."
)
_SYSTEMS = _listed(
    "You are a helpful assistant.|Answer briefly.|You are a friendly teacher.|Be concise and kind.|"
    "You are an expert who explains simply.|Reply in plain English."
)
_ANSWERS = _listed(
    "Sure, what would you like to know?|Of course.|That is a good question.|Yes, gladly.|It depends on what you need.|"
    "Let me think about that."
)

# (weight, value): 600 is the gateway's value when the caller sends none.
_TEMPERATURES = ((50, 600), (12, 700), (8, 800), (10, 1000), (3, 900), (5, 500), (4, 300), (2, 400), (1, 1200), (5, 0))
_NUCLEI = ((88, 0), (6, 950), (4, 900), (2, 1000))


@dataclass(frozen=True, slots=True)
class ChallengePrompt:
    """What one challenge asks and how the answer is to be sampled."""

    messages: tuple[tuple[str, str], ...]
    sampling: Sampling


class _Draw:
    """A stream of choices from a seed."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def below(self, bound: int) -> int:
        self._count += 1
        return int.from_bytes(sha256(self._seed, self._count.to_bytes(4, "big"))[:8], "big") % bound

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[int, int]]) -> int:
        at = self.below(sum(weight for weight, _ in choices))
        for weight, value in choices:
            at -= weight
            if at < 0:
                return value
        raise AssertionError("weights do not add up")


def challenge_prompt(seed: bytes) -> ChallengePrompt:
    """The prompt and sampling values that this secret seed stands for."""
    draw = _Draw(seed)
    messages: list[tuple[str, str]] = []
    if draw.below(5) == 0:
        messages.append(("system", draw.of(_SYSTEMS)))
    if draw.below(10) == 0:
        messages += [("user", f"Can I ask you about {draw.of(_THINGS)}?"), ("assistant", draw.of(_ANSWERS))]
    messages.append(("user", _question(draw)))
    temperature, nucleus = draw.weighted(_TEMPERATURES), draw.weighted(_NUCLEI)
    answer = MIN_TOKENS + draw.below(MAX_TOKENS - MIN_TOKENS + 1)
    return ChallengePrompt(tuple(messages), Sampling(temperature, nucleus, 0, answer))


def _question(draw: _Draw) -> str:
    text = draw.of(_FORMS)
    for name, choices in (("person", _PEOPLE), ("place", _PLACES), ("food", _FOODS), ("job", _JOBS), ("code", _CODE)):
        text = text.replace("{" + name + "}", draw.of(choices))
    text = text.replace("{language}", draw.of(_LANGUAGES))
    while "{thing}" in text:
        text = text.replace("{thing}", draw.of(_THINGS), 1)
    while "{number}" in text:
        text = text.replace("{number}", str(2 + draw.below(18)), 1)
    text = draw.of(_OPENINGS) + text + draw.of(_ENDINGS)
    style = draw.below(10)
    if style == 0:
        return text.lower()
    return text.rstrip(".?!") if style == 1 else text
