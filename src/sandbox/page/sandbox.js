// The people's side of the sandbox over HTTP: calls, and the stream of what changes in a chat.

export async function api(method, path, body) {
  const options = { method };
  if (body instanceof FormData) options.body = body;
  else if (body) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const answer = await fetch(`/sandbox/${path}`, options);
  if (!answer.ok) throw new Error((await answer.text()) || answer.statusText);
  return answer.json();
}

const RETRY = 1200;

// Each event goes to the handler of its name, the state of the connection to `state`. A connection that
// ends is made again, and begins with a snapshot. Returns what ends it for good.
export function listen(path, handlers) {
  let socket;
  let timer = 0;
  let over = false;
  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/sandbox/${path}`);
    socket.onopen = () => over || handlers.state("online");
    socket.onmessage = (message) => {
      const { event, data } = JSON.parse(message.data);
      if (!over) handlers[event]?.(data);
    };
    socket.onclose = () => {
      if (over) return;
      handlers.state("offline");
      timer = setTimeout(connect, RETRY);
    };
  }
  connect();
  return () => {
    over = true;
    clearTimeout(timer);
    socket.close();
  };
}
