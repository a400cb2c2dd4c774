// The agent of this example, in JavaScript; agent.py is the same in Python. Any program will do that reads one JSON text from
// standard input and writes one to standard output. Logs go to standard error; another exit code than 0 is a failure.

let text = "";
for await (const chunk of process.stdin) text += chunk;
const input = JSON.parse(text);

console.error(`task ${process.env.ORLOJ_TASK_ID ?? "-"}, attempt ${process.env.ORLOJ_ATTEMPT ?? "-"}`);

const words = input.text.toLowerCase().match(/[a-z]+/g) ?? [];
const counts = new Map();
for (const word of words) if (word.length > 3) counts.set(word, (counts.get(word) ?? 0) + 1);
const keywords = [...counts]
  .sort(([left, more], [right, less]) => less - more || (left < right ? -1 : 1))
  .slice(0, input.limit)
  .map(([word]) => word);

console.log(JSON.stringify({ words: words.length, keywords }));
