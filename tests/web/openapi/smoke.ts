// Votes by a client that is typed after our document alone: a wrong name or type here is an error of the compiler.
import createClient from "openapi-fetch";
import type { components, paths } from "./types.js";

declare const process: { argv: string[] };

const [baseUrl, tool] = process.argv.slice(2) as [string, string];

function must<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${answer.response.status}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

const anyone = createClient<paths>({ baseUrl });
const visitor = must(await anyone.POST("/v1/visitors"));

const voter = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${visitor.token}` } });
const path = { tool };
const vote = must(await voter.PUT("/v1/tools/{tool}/vote", { params: { path }, body: { choice: "ship" } }));

const query = vote.position === null ? {} : { after: vote.position };
const card: components["schemas"]["Card"] = must(await voter.GET("/v1/tools/{tool}", { params: { path, query } }));
const page = must(await anyone.GET("/v1/tools", { params: { query: { sort: "settled", limit: 1 } } }));

const refused = await anyone.PUT("/v1/tools/{tool}/vote", { params: { path }, body: { choice: "skip" } });
const problem: components["schemas"]["ProblemDetails"] | undefined = refused.error;

console.log(JSON.stringify([vote.choice, card.community.ship, card.slug, page.items.length, problem?.status]));
