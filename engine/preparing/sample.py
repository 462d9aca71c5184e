"""The text that precisions are compared by: some 600 tokens of prose, facts, numbers, a dialogue, a list and code, so
that no single kind of text decides. Whoever changes it makes all earlier reports incomparable."""

TEXT = """\
The ferry left the island a little after seven, when the fog had thinned enough for the captain to see the first \
buoy. On deck stood a teacher with two suitcases, a boy who fed bread to the gulls, and an old woman who had made the \
crossing every Thursday for forty years. She did not look at the water. She read the newspaper from the last page to \
the first, because, as she once told the captain, the weather was the only news that concerned her directly.

Water boils at 100 degrees Celsius at sea level, but at a height of 3,000 metres it boils at about 90 degrees. The \
reason is the pressure of the air: the less of it presses on the surface, the sooner bubbles of steam can form. This \
is why pasta takes longer to cook in the mountains, even though the water in the pot seems to be boiling just as hard.

"Did you find the key?" she asked.
"Not yet," he said. "I have looked in the kitchen, in the hall and under the stairs."
"Then it must be in your coat. You always forget your coat."
He went to the door, put his hand into the left pocket, and began to laugh.

To plant a tree, you need a spade, some compost, a stake and a bucket of water.
1. Dig a hole twice as wide as the roots and just as deep.
2. Put the tree into the hole and hold it upright.
3. Fill the hole with earth and compost, and press it down with your foot.
4. Tie the tree to the stake, and water it well.

In 1903 two brothers from Ohio flew an aeroplane for twelve seconds. Sixty-six years later, in 1969, two people walked \
on the Moon. Someone who was born in 1890 could have read about both in the same newspaper. Few lives have seen so \
much change, and yet most of the letters that survive from those years are about money, health and the harvest.

def average(numbers):
    total = 0
    for number in numbers:
        total += number
    return total / len(numbers)

print(average([3, 5, 7, 9]))

The capital of France is Paris, the capital of Italy is Rome, and the capital of Spain is Madrid. A week has seven \
days, a year has twelve months, and an hour has sixty minutes. If a train travels at 80 kilometres an hour, it needs \
two and a half hours for 200 kilometres. Thank you for your letter of the 4th of March. We are sorry to hear that the \
lamp was broken when it arrived, and we have sent you a new one today. Please keep the old one until our driver comes \
to collect it.
"""
