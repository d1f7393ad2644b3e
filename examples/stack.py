"""A stack that knows its largest item, with a hole to fill: `append` in `push` lacks what it appends.

Try `infill fill examples/stack.py:14:27`, which is between those two brackets.
"""


class Stack:
    def __init__(self):
        self.items = []
        self.largest = []

    def push(self, item):
        """Put an item on top."""
        self.items.append()
        if self.largest and self.largest[-1] > item:
            self.largest.append(self.largest[-1])
        else:
            self.largest.append(item)

    def pop(self):
        """Take the item on top."""
        if not self.items:
            raise IndexError("pop from an empty stack")
        self.largest.pop()
        return self.items.pop()

    def __len__(self):
        return len(self.items)
