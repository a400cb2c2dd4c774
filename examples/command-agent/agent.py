"""The agent of this example, in Python; agent.mjs is the same in JavaScript.

Any program will do that reads one JSON text from standard input and writes one to standard output. Logs go to standard error; another
exit code than 0 is a failure.
"""

import collections
import json
import os
import re
import sys

data = json.load(sys.stdin)

print(f"task {os.environ.get('ORLOJ_TASK_ID', '-')}, attempt {os.environ.get('ORLOJ_ATTEMPT', '-')}", file=sys.stderr)

words = re.findall("[a-z]+", data["text"].lower())
counts = collections.Counter(word for word in words if len(word) > 3)
keywords = sorted(counts, key=lambda word: (-counts[word], word))[: data["limit"]]

json.dump({"words": len(words), "keywords": keywords}, sys.stdout)
