// The files that the tests open; what is asked of the model in them is easy on purpose.

const TOTAL = `def total(values):
    result = 0
    for value in values:
        result += 
    return result
`;

const BOX = `class Box:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        """Width times height."""
        return 
`;

const DOUBLE = `class Box:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        return self.width * self.height

    def double(self):
        return 
`;

const STACK = `class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        """Put an item on top."""
        self.items.append(item)

    def pop(self):
        """Take the item on top; an error if the stack is empty."""
        

    def __len__(self):
        return len(self.items)
`;

const HOLES = `class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance

    def deposit(self, amount):
        self.balance += ___

    def name(self):
        return ___
`;

export const documents = {
  "total.py": TOTAL,
  "snooze.py": TOTAL,
  "again.py": TOTAL,
  "silent.py": TOTAL,
  "quiet.txt": "quiet\n",
  "words.py": DOUBLE,
  "lines.py": STACK,
  "cycle.py": BOX,
  "holes.py": HOLES,
  "preview.py": HOLES,
  "action.py": HOLES,
  "canvas.py": HOLES,
  "engine.py": TOTAL,
  "rewrite.py": TOTAL.replace("+= ", "+= something"),
  "broken.js": `function total(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

console.log("total", total([1, 2]);
`,
};
