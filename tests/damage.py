"""Damage files at random, to see that a reader copes with every copy."""

import random


def read_damaged(read, path, *, copies=200, seed=0):
    """Read damaged copies of a file.

    Returns the messages of those that were refused with a ValueError of one
    line; a few copies may be as good as intact.
    """
    intact = path.read_bytes()
    draw = random.Random(seed)
    messages = []
    for _ in range(copies):
        copy = bytearray(intact)
        for _ in range(draw.randint(1, 3)):
            copy[draw.randrange(len(copy))] = draw.randrange(256)
        path.write_bytes(
            copy[: draw.choice([None, draw.randrange(len(copy))])]
        )
        try:
            read(path)
        except ValueError as error:
            messages.append(str(error))
    assert not any('\n' in message for message in messages)
    return messages
