// A certified OpenID provider on loopback: people sign in by their name alone, and have the groups that PEOPLE gives them.
import { Provider } from "oidc-provider";

const { PORT, PEOPLE, BACK, OUT, GROUPS_IN } = process.env;
const issuer = `http://localhost:${PORT}`;
const people = JSON.parse(PEOPLE);

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "ballotpress",
      client_secret: "secret-of-the-client-of-the-tests",
      redirect_uris: [BACK],
      post_logout_redirect_uris: [OUT],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  conformIdTokenClaims: GROUPS_IN === "userinfo", // then claims of a scope stand in userinfo alone
  pkce: { required: () => true },
  cookies: { keys: ["a-key-of-the-cookies-of-the-tests"] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: `subject-of-${id}`, preferred_username: id, ...(people[id] && { groups: people[id] }) }),
  }),
});

// Only the groups of a person may change while it runs: POST /people {"ann": ["editors"]}.
provider.use(async (ctx, next) => {
  if (ctx.path !== "/people") return next();
  let body = "";
  for await (const piece of ctx.req) body += piece;
  Object.assign(people, JSON.parse(body));
  ctx.body = "{}";
});
provider.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
