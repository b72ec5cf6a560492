"""A seed in, distinct English sentences out: a template grammar over words chosen for this corpus.

About 300 words that cover every phone class; between them the templates reach far more than a
million sentences of eight to thirteen words.
"""

import numpy as np

from sat_jax.errors import InputError

_GRAMMAR = {
    "det": "the a this that every another our their my your his her",
    "adj": (
        "quiet yellow hungry gentle purple frozen clever broken narrow heavy foolish golden young "
        "ancient cheerful thirsty wooden pleasant curious royal tiny shining noisy bitter careful "
        "modern polite rusty shallow thick usual vague wild southern jealous early loud round "
        "smooth brown fair good green huge new old poor pure rare sharp thin white"
    ),
    "person": (
        "teacher farmer doctor singer neighbour judge sailor painter writer child brother mother "
        "father uncle baker pilot engineer nurse lawyer driver princess giant shepherd youth woman "
        "cook boy girl queen king visitor soldier"
    ),
    "thing": (
        "garden river bottle window letter mountain candle kitchen basket engine village bridge "
        "measure journey kettle blanket ladder piano mirror pocket treasure feather hammer island "
        "jacket lemon machine needle orange paper puzzle ribbon saddle tower umbrella vase wagon "
        "anchor boat book cloud coin cup door fire house jar mouth path ship shoe stone tooth watch"
    ),
    "place": (
        "harbour forest market station valley library church beach office orchard theatre desert "
        "cottage museum square cave farm field school lake road"
    ),
    "verb": (
        "carried followed painted measured admired borrowed counted dropped examined fetched "
        "guarded imagined joined kicked lifted mentioned noticed offered polished questioned "
        "repaired shook touched understood visited washed heard bought chose found gave hid kept "
        "left made pushed saw sold threw took used watched"
    ),
    "gone": (
        "walked travelled wandered hurried returned jumped marched ran sailed moved rode "
        "went climbed danced"
    ),
    "adverb": (
        "slowly quickly gladly rarely usually carefully suddenly together often never always "
        "nearly calmly loudly soon"
    ),
    "prep": "behind beyond under above near across through toward around beside past",
    "time": (
        "yesterday on_thursday last_night before_noon in_the_morning after_the_storm at_dawn "
        "during_the_voyage this_year three_hours_ago at_half_past_eight in_july on_a_cold_evening"
    ),
    "number": "two three four five six seven eight nine ten twelve fifteen twenty forty",
    "plural": (
        "horses oranges boxes judges clouds shoes teeth leaves voices bridges dishes coins "
        "watches mice pictures stories thumbs bells cages eggs potatoes sparrows weeks"
    ),
    "say": "said thought knew hoped believed whispered was_sure dreamed feared",
}
# One entry may be several words: "in_july".
_WORDS = {slot: text.split() for slot, text in _GRAMMAR.items()}

_TEMPLATES = tuple(
    template.split()
    for template in (
        "det adj person verb det thing prep det adj place",
        "det person adverb verb number adj plural time",
        "time det adj person gone prep det adj place",
        "det adj thing prep det place was adj and adj",
        "number adj plural gone prep det adj place time",
        "det person say that det adj person verb det adj thing",
        "was it det adj person who verb number plural or det thing",
        "det person and det adj person verb det thing time",
        "why was det adj thing adverb prep det adj place",
        "det person who verb det thing adverb gone prep det place",
        "adverb det person verb det adj adj thing",
        "there were number adj plural prep det thing time",
    )
)


def sentences(count: int, seed: int) -> list[str]:
    """The first `count` distinct sentences of a seed; a longer list starts with a shorter one.

    Raises `InputError` if the grammar runs dry.
    """
    rng = np.random.default_rng([seed, 1])
    drawn: dict[str, None] = {}
    for _ in range(20 * count + 100):
        if len(drawn) == count:
            return list(drawn)
        drawn.setdefault(_sentence(rng))
    raise InputError(
        f"corpus.talker asks for {count} distinct sentences, more than the talker's grammar has: "
        "lower corpus.talker.speakers or corpus.talker.utterances"
    )


def vocabulary() -> list[str]:
    """Every word that a sentence can hold, sorted."""
    fixed = {word for template in _TEMPLATES for word in template if word not in _WORDS}
    chosen = {word for words in _WORDS.values() for entry in words for word in entry.split("_")}
    return sorted(fixed | chosen)


def _sentence(rng: np.random.Generator) -> str:
    template = _TEMPLATES[rng.integers(len(_TEMPLATES))]
    words = [
        _WORDS[slot][rng.integers(len(_WORDS[slot]))] if slot in _WORDS else slot
        for slot in template
    ]
    spoken = " ".join(words).replace("_", " ").split()
    for i in range(len(spoken) - 1):
        if spoken[i] == "a" and spoken[i + 1][0] in "aeiou" and spoken[i + 1] != "usual":
            spoken[i] = "an"
    end = "?" if spoken[0] in ("was", "why") else "."
    return " ".join(spoken).capitalize() + end
