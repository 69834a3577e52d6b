// What a service written for Node.js sees of the API socket, as one line of JSON.
import http from "node:http";
import net from "node:net";

const socketPath = process.argv[2];
const app = "/v1/apps/payments";
let dials = 0;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
agent.createConnection = (options, done) => {
  dials += 1;
  return net.createConnection(options, done);
};

const start = (method, path, body, headers = {}) =>
  new Promise((resolve, reject) => {
    const request = http.request({ socketPath, agent, method, path, headers }, resolve);
    request.on("error", reject);
    request.end(body);
  });

async function ask(method, path, body, headers) {
  const response = await start(method, path, body, headers);
  const pieces = [];
  for await (const piece of response) pieces.push(piece);
  return { code: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) };
}

const seen = {};
let answer = await ask("GET", `${app}/token`);
seen["token"] = `${answer.code} ${JSON.parse(answer.body).app}`;
answer = await ask("HEAD", `${app}/token`);
seen["head"] = `${answer.code} ${answer.headers["content-length"] > 100} ${answer.body.length}`;
seen["bad parameter"] = `${(await ask("GET", `${app}/token?format=x`)).code}`;
seen["absent"] = `${(await ask("GET", "/v1/apps/absent/token")).code}`;
seen["refresh"] = `${(await ask("POST", `${app}/refresh`)).code}`;
const length = { "Content-Length": 10 };
seen["refresh with a body"] = `${(await ask("POST", `${app}/refresh`, '{"a": "b"}', length)).code}`;
const chunks = { "Transfer-Encoding": "chunked" };
seen["refresh with chunks"] = `${(await ask("POST", `${app}/refresh`, "hello", chunks)).code}`;
seen["large body"] = `${(await ask("POST", `${app}/refresh`, "x".repeat(1_000_000))).code}`;
const before = dials;
for (let count = 0; count < 100; count += 1) {
  const { code } = await ask("GET", `${app}/token`);
  if (code !== 200) throw new Error(`${code}`);
}
// The one before may have ended with the refusal.
seen["connections for 100 more"] = dials - before <= 1 ? "0 or 1" : `${dials - before}`;

const watch = await start("GET", `${app}/token?watch=1`);
watch.once("data", (line) => {
  seen["watch"] = `${watch.statusCode} ${JSON.parse(line).app}`;
  console.log(JSON.stringify(seen));
  watch.destroy();
  agent.destroy();
});
