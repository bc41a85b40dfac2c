// Drives the real AI SDK against a chat that Clarion serves. One argument: JSON of {url, runs}; prints JSON of the
// results. A run has: id, version (of the SDK), script (what is generated), cuts (after how many SSE frames each
// response breaks), error (what it breaks with), reload (a new page that knows only the question), resumes (how often).

const { url, runs } = JSON.parse(process.argv[2]);

class ChatState {
  status = "ready";
  error = undefined;

  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = (message) => {
    this.messages = [...this.messages, structuredClone(message)];
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.messages = this.messages.map((one, at) => (at === index ? structuredClone(message) : one));
  };
  snapshot = (value) => structuredClone(value);
}

// A fetch whose responses break after so many frames, as they do when a network goes away.
function breaking(cuts, error, answers) {
  return async (input, init) => {
    const response = await fetch(input, init);
    const frames = cuts.shift();
    const header = response.headers.get("x-vercel-ai-ui-message-stream");
    const answer = { method: init.method, status: response.status, header, frames: 0 };
    answers.push(answer);
    if (!response.body) return response;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const body = new ReadableStream({
      async pull(controller) {
        while (true) {
          if (answer.frames === frames) {
            await reader.cancel();
            controller.error(error === "terminated" ? new Error(error) : new TypeError(error));
            return;
          }
          const end = text.indexOf("\n\n") + 2;
          if (end > 1) {
            answer.frames += 1;
            controller.enqueue(new TextEncoder().encode(text.slice(0, end)));
            text = text.slice(end);
            return;
          }
          const { done, value } = await reader.read();
          if (done) {
            controller.close();
            return;
          }
          text += value;
        }
      },
    });
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

async function run({ id, version, script, cuts = [], error = "network error", reload = false, resumes = 0 }) {
  const { AbstractChat, DefaultChatTransport, convertToModelMessages } = await import(`ai${version}`);
  class Chat extends AbstractChat {}
  const [answers, errors, reasons] = [[], [], []];
  const fetching = breaking([...cuts], error, answers);
  const page = (messages) =>
    new Chat({
      id,
      state: new ChatState(messages),
      transport: new DefaultChatTransport({ api: url, fetch: fetching, body: { script, sdk: version } }),
      onError: (raised) => errors.push(raised.message),
      onFinish: ({ finishReason }) => reasons.push(finishReason ?? null),
    });
  let chat = page([]);
  if (script) await chat.sendMessage({ text: "weather?" });
  if (reload) chat = page(chat.messages.filter(({ role }) => role === "user"));
  for (let count = 0; count < resumes; count += 1) await chat.resumeStream();
  const history = await convertToModelMessages(chat.messages);
  return {
    id,
    status: chat.status,
    parts: chat.messages.filter(({ role }) => role === "assistant").map(({ parts }) => parts),
    metadata: chat.messages.at(-1)?.metadata,
    ids: [...new Set(chat.messages.slice(1).map((message) => message.id))],
    history: history.map(({ role, content }) =>
      typeof content === "string" ? role : `${role}: ${content.map(({ type }) => type).join(", ")}`,
    ),
    errors,
    reasons,
    answers,
  };
}

console.log(JSON.stringify(await Promise.all(runs.map(run))));
