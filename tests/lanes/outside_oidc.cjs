// Finds an issuer's keys by discovery and verifies a JWT-SVID with jose, as a program does that knows no SPIFFE.
const assert = require("node:assert");
const jose = require("jose");

const [issuer, token, other, audience, subject] = process.argv.slice(2);

async function main() {
  const found = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  assert.strictEqual(found.issuer, issuer);
  const keys = jose.createRemoteJWKSet(new URL(found.jwks_uri));
  const verify = (text, options) => jose.jwtVerify(text, keys, { issuer, audience, subject, ...options });
  const { payload, protectedHeader } = await verify(token, {});
  console.log(`${payload.sub} for ${payload.aud} by ${payload.iss}, ${protectedHeader.alg}`);
  const refused = (what, promise) => assert.rejects(promise, (error) => error instanceof jose.errors.JOSEError, what);
  await refused("another audience", verify(other, {}));
  await refused("another issuer", verify(token, { issuer: `${issuer}/other` }));
  await refused("another subject", verify(token, { subject: `${subject}/other` }));
  const [head, claims] = token.split(".");
  await refused("another signature", verify(`${head}.${claims}.${"A".repeat(86)}`, {}));
  console.log("refused for another audience, issuer, subject and signature");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
