"""From shapes to grammar rules: one rule a state, so that recursive schemas become recursive rules.

Written: the listed properties in their order, other ones only where the schema speaks of them or lists none; no more
items than prefixItems lists unless the schema says what they are. All of it a subset of what is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.replica.schema.document import Document
from engine.replica.schema.expand import Expander
from engine.replica.schema.numbers import number_gbnf
from engine.replica.schema.rules import Part, Ref, Repeat, Rules, Way
from engine.replica.schema.shapes import UNBOUNDED, Array, Literals, Number, Object, Shape, State, Text
from engine.replica.schema.strings import CHAR, FORMATS, json_literals, other_keys

MAX_RULES = 20_000
MAX_COUNTED_PROPERTIES = 64  # with minProperties or maxProperties there is a rule for each count
DIRECT = 200  # repetitions written as such; llama.cpp makes one rule for each
BLOCK = 100

SPACE, CHARACTER = Ref("space"), Ref("char")
COMMA, QUOTE = '","', r'"\""'
_STRING = {"type": "string"}


class Writer:
    """Makes the rules of one document."""

    def __init__(self, document: Document, expander: Expander) -> None:
        self.rules = Rules({SPACE.name: [], CHARACTER.name: []})
        self.rules.ways["space"] = [Way(('" "?',)), Way((r'"\n" [ \t]{0,20}',))]
        self.rules.ways["char"] = [Way((CHAR,))]
        self.too_many_properties = False  # a count could not be met with names that surely differ
        self._document, self._expander = document, expander
        self._names: dict[State, Ref] = {}
        self._waiting: list[State] = []
        self._made = 0

    def write(self, root: State) -> str | None:
        """GBNF for `root`; None when it allows nothing that can be written."""
        self.rules.ways["root"] = [Way((self._value(root),))]
        while self._waiting:
            state = self._waiting.pop()
            name = self._names[state].name
            self._add(name, [])
            for shape in self._expander.expand(state):
                self.rules.ways[name] += [Way(way.parts, shape.asked) for way in self._ways(shape)]
        return self.rules.gbnf("root")

    def _value(self, state: State) -> Ref:
        if state not in self._names:
            self._names[state] = Ref(f"v{len(self._names)}")
            self._waiting.append(state)
        return self._names[state]

    def _add(self, name: str, ways: list[Way]) -> Ref:
        self.rules.ways[name] = ways
        if len(self.rules.ways) > MAX_RULES:
            raise self._document.refuse("needs too many rules")
        return Ref(name)

    def _rule(self, *parts: Part) -> Ref:
        self._made += 1
        return self._add(f"r{self._made}", [Way(parts)])

    def _ways(self, shape: Shape) -> Iterator[Way]:
        if isinstance(shape, Literals):
            for literal in self._literals(shape.values):
                yield Way((literal,))
        elif isinstance(shape, Number):
            gbnf = number_gbnf(shape)
            if gbnf is not None:
                yield Way((f"({gbnf})",))
        elif isinstance(shape, Text):
            yield Way((QUOTE, *self._text(shape), QUOTE))
        elif isinstance(shape, Array):
            yield Way(('"["', SPACE, self._items(shape), '"]"'))
        else:
            yield Way(('"{"', SPACE, self._properties(shape), '"}"'))

    def _literals(self, values: Iterable[object]) -> list[str]:
        try:
            return json_literals(values)
        except UnicodeEncodeError:
            raise self._document.refuse("holds text that is not valid Unicode") from None

    def _counted(self, rule: Ref, least: int, most: float) -> tuple[Part, ...]:
        """A rule `least` to `most` times; long ones in blocks, which keeps the grammar small."""
        spread = most - least
        if least <= DIRECT and (spread == UNBOUNDED or most <= DIRECT):
            return (Repeat(rule, least, most),)
        block = self._rule(Repeat(rule, BLOCK, BLOCK))
        exact: tuple[Part, ...] = (Repeat(block, least // BLOCK, least // BLOCK), Repeat(rule, *(least % BLOCK,) * 2))
        if spread == UNBOUNDED:
            return (*exact, Repeat(rule, 0))
        if spread <= DIRECT:
            return (*exact, Repeat(rule, 0, spread))
        blocks = (int(spread) - (BLOCK - 1)) // BLOCK
        return (*exact, Repeat(block, 0, blocks), Repeat(rule, 0, spread - blocks * BLOCK))

    # Strings

    def _text(self, shape: Text) -> tuple[Part, ...]:
        if not shape.formats:
            return self._counted(CHARACTER, shape.least, shape.most)
        if len(shape.formats) > 1:
            raise self._document.refuse("asks for two formats at once", "format")
        (name,) = shape.formats
        found = FORMATS[name]
        if shape.least > found.shortest or shape.most < found.longest:
            keyword = "minLength" if shape.least > found.shortest else "maxLength"
            raise self._document.refuse(f"limits the length of the format {name}, which is not supported", keyword)
        rule = Ref(f"format-{name}")
        if rule.name not in self.rules.ways:
            self._add(rule.name, [Way((found.gbnf,))])
        return (rule,)

    # Arrays

    def _items(self, shape: Array) -> Ref:
        """The items of an array: a rule for each place of the prefix, then the rest."""
        self._made += 1
        base, length = f"a{self._made}", len(shape.prefix)
        for index in range(length):
            ways = [Way(())] if index >= shape.least else []
            if index < shape.most:
                separator = (COMMA, SPACE) if index else ()
                ways.append(Way((*separator, self._value(shape.prefix[index]), SPACE, Ref(f"{base}-{index + 1}"))))
            self._add(f"{base}-{index}", ways)
        self._add(f"{base}-{length}", list(self._further_items(shape, length)))
        return Ref(f"{base}-0")

    def _further_items(self, shape: Array, done: int) -> Iterator[Way]:
        least, most = max(0, shape.least - done), shape.most - done
        if not least:
            yield Way(())
        if most <= 0 or (done and not shape.rest and not least):
            return
        item = self._value(shape.rest)
        further = self._rule(COMMA, SPACE, item, SPACE)
        if done:
            yield Way(self._counted(further, max(1, least), most))
        else:
            yield Way((item, SPACE, *self._counted(further, max(0, least - 1), most - 1)))

    # Objects

    def _properties(self, shape: Object) -> Ref:
        """The properties of an object: a rule for each place in their order and for how many came before."""
        self._made += 1
        names = list(dict.fromkeys([*shape.properties, *shape.required]))
        names = [name for name in names if self._expander.allows(shape.names, name)]
        if not set(shape.required) <= set(names):
            return self._add(f"o{self._made}", [])
        counting = shape.least > len(shape.required) or shape.most < UNBOUNDED
        if counting and len(names) > MAX_COUNTED_PROPERTIES:
            keyword = "minProperties" if shape.least > len(shape.required) else "maxProperties"
            raise self._document.refuse(f"uses {keyword} with too many properties", keyword)
        base = f"o{self._made}"
        pairs = {name: self._pair(self._literals([name])[0], shape.at(name)) for name in names}
        other = self._other_pair(shape)
        todo, seen = [(0, 0)], {(0, 0)}
        while todo:
            index, count = todo.pop()
            steps = list(self._steps(shape, names, pairs, index, count, counting))
            ways = [Way((*parts, Ref(f"{base}-{i}-{n}"))) for parts, i, n in steps]
            if index == len(names):
                ways = list(self._others(shape, other, count, counting))
            self._add(f"{base}-{index}-{count}", ways)
            new = {(i, n) for _, i, n in steps} - seen
            seen |= new
            todo += sorted(new)
        return Ref(f"{base}-0-0")

    def _steps(
        self, shape: Object, names: list[str], pairs: dict[str, Ref], index: int, count: int, counting: bool
    ) -> Iterator[tuple[tuple[Part, ...], int, int]]:
        """Ways on from a place: what is written, the next place, the count there (unless counting, 1 for any)."""
        if index == len(names):
            return
        name = names[index]
        if count < shape.most:
            separator = (COMMA, SPACE) if count else ()
            yield (*separator, pairs[name]), index + 1, count + 1 if counting else 1
        if name not in shape.required:
            yield (), index + 1, count

    def _pair(self, key: Part, value: State) -> Ref:
        return self._rule(key, '":"', SPACE, self._value(value), SPACE)

    def _other_pair(self, shape: Object) -> Ref | None:
        """A property that is not listed, or None where none is written."""
        taken = [*shape.properties, *shape.required]
        if (shape.listed and not shape.open) or (taken and shape.names):
            return None
        if not taken:
            return self._pair(self._value(shape.names | self._document.state(_STRING)), shape.additional)
        return self._pair(self._rule(QUOTE, other_keys(taken), QUOTE), shape.additional)

    def _others(self, shape: Object, pair: Ref | None, count: int, counting: bool) -> Iterator[Way]:
        """The end of an object: properties that are not listed, as many as the bounds leave."""
        least = max(0, shape.least - count) if counting else 0
        most = shape.most - count if counting else UNBOUNDED
        if least > 1:  # two free names could be the same one
            self.too_many_properties = True
            return
        if not least:
            yield Way(())
        if pair is None or most <= 0:
            return
        further = self._rule(COMMA, SPACE, pair)
        if count:
            yield Way(self._counted(further, 1, most))
        else:
            yield Way((pair, *self._counted(further, 0, most - 1)))
