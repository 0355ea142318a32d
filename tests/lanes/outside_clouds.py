"""What clients of clouds send, with the settings of docs/oidc and token files that `holdfast-agent helper` keeps.

A stand-in for the clouds' token services answers them: it takes a token only by the issuer's published keys, for the audience
and the subject that the page pins. The clouds themselves are not here, and nothing is shown of what they do.
"""

import datetime
import http.server
import json
import logging
import os
import pathlib
import re
import ssl
import sys
import threading
import urllib.parse
import urllib.request

import botocore.exceptions
import botocore.session
import google.auth.exceptions
import google.auth.transport.requests
import jwt
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import WorkloadIdentityCredential
from google.auth import identity_pool

PAGES = pathlib.Path(__file__).resolve().parents[2] / "docs/oidc"
TENANT = "11111111-2222-3333-4444-555555555555"


class Clouds(http.server.ThreadingHTTPServer):
    """The stand-in, over TLS."""

    def __init__(self, issuer, ca_file, key_file):
        super().__init__(("127.0.0.1", 0), Answer)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(ca_file, key_file)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}"
        self.issuer, self.pinned, self.refused = issuer, {}, []
        site = ssl.create_default_context(cafile=ca_file)
        with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", context=site) as answer:
            found = json.load(answer)
        self.keys = jwt.PyJWKClient(found["jwks_uri"], ssl_context=site)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def takes(self, cloud, token):
        """Whether the token is the one that the page demands."""
        audience, subject, algorithms = self.pinned[cloud]
        try:
            key = self.keys.get_signing_key_from_jwt(token).key
            must = {"require": ["exp", "iat", "sub", "aud", "iss"]}
            claims = jwt.decode(token, key, algorithms=algorithms, audience=audience, issuer=self.issuer, options=must)
        except jwt.PyJWTError as error:
            self.refused.append(f"{cloud}: {error}")
            return False
        return claims["sub"] == subject


class Answer(http.server.BaseHTTPRequestHandler):
    """One request of a client."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, body, code=200, kind="application/json"):
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        base = f"{self.server.url}/{TENANT}"
        found = {"authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/oauth2/v2.0/token"}
        self.say({**found, "issuer": f"{base}/v2.0"})

    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {} if text.startswith("{") else dict(urllib.parse.parse_qsl(text, strict_parsing=True))
        ends = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.path == "/":
            assert form["Action"] == "AssumeRoleWithWebIdentity" and form["RoleSessionName"] == "web", form
            if not self.server.takes("aws", form["WebIdentityToken"]):
                error = "<Code>InvalidIdentityToken</Code><Message>refused</Message>"
                return self.say(f"<ErrorResponse><Error>{error}</Error></ErrorResponse>", 400, "text/xml")
            held = f"<AccessKeyId>A</AccessKeyId><SecretAccessKey>B</SecretAccessKey><SessionToken>C</SessionToken><Expiration>{ends}</Expiration>"
            result = f"<AssumeRoleWithWebIdentityResult><Credentials>{held}</Credentials></AssumeRoleWithWebIdentityResult>"
            self.say(f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>", 200, "text/xml")
        elif self.path == "/v1/token":
            assert form["audience"] == self.server.provider, form
            assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt", form
            if not self.server.takes("gcp", form["subject_token"]):
                return self.say({"error": "invalid_grant", "error_description": "refused"}, 400)
            self.say({"access_token": "federated", "issued_token_type": "x", "token_type": "Bearer", "expires_in": 3600})
        elif self.path.endswith(":generateAccessToken"):
            assert self.headers["authorization"] == "Bearer federated"
            self.say({"accessToken": "of the service account", "expireTime": ends})
        else:
            assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form
            if not self.server.takes("azure", form["client_assertion"]):
                return self.say({"error": "invalid_client", "error_description": "AADSTS5002738: refused"}, 400)
            self.say({"access_token": "of Entra", "token_type": "Bearer", "expires_in": 3600})


def page(name, language):
    """Blocks of a page, in order."""
    text = (PAGES / name).read_text()
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no {language}"
    return found


def aws(clouds, file):
    """The role's trust policy is the page's."""
    (statement,) = json.loads(page("aws.md", "json")[0])["Statement"]
    pins = statement["Condition"]["StringEquals"]
    host = statement["Principal"]["Federated"].split("oidc-provider/")[1]
    assert set(pins) == {f"{host}:aud", f"{host}:sub"} and set(statement["Condition"]) == {"StringEquals"}, statement
    clouds.pinned["aws"] = (pins[f"{host}:aud"], pins[f"{host}:sub"], ["ES256", "ES384", "RS256"])
    settings = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/web",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_SESSION_NAME": "web",
        "AWS_ENDPOINT_URL_STS": clouds.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }
    os.environ.update(settings)
    return botocore.session.Session().get_credentials().get_frozen_credentials().token


def gcp(clouds, file):
    """The credential configuration is the page's, but for where Google is and where the file is."""
    settings = json.loads(page("gcp.md", "json")[0])
    provider = settings["audience"]
    commands = " ".join(page("gcp.md", "console"))
    assert f"--allowed-audiences=https:{provider}" in commands, "another audience is allowed than the page's"
    (subject,) = re.findall(r"--attribute-condition=.assertion.sub in \['([^']+)'\]", commands)
    assert f"/subject/{subject}" in commands, "another subject is bound than the condition lets in"
    clouds.pinned["gcp"] = (f"https:{provider}", subject, ["ES256", "RS256"])
    clouds.provider = provider
    settings["token_url"] = settings["token_url"].replace("https://sts.googleapis.com", clouds.url)
    acting = "service_account_impersonation_url"
    settings[acting] = settings[acting].replace("https://iamcredentials.googleapis.com", clouds.url)
    settings["credential_source"]["file"] = str(file)
    credentials = identity_pool.Credentials.from_info(settings)
    credentials = credentials.with_scopes(["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def azure(clouds, file):
    """Issuer, subject and audience are those of the page's command."""
    commands = " ".join(page("azure.md", "console"))
    subject, audience = (re.search(rf"--{name} (\S+)", commands).group(1) for name in ["subject", "audiences"])
    clouds.pinned["azure"] = (audience, subject, ["RS256"])
    credential = WorkloadIdentityCredential(
        tenant_id=TENANT,
        client_id="22222222-3333-4444-5555-666666666666",
        token_file_path=str(file),
        authority=clouds.url,
        disable_instance_discovery=True,
        retry_total=0,
    )
    return credential.get_token("https://management.azure.com/.default").token


# What it says of a refusal is expected.
logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
REFUSALS = (botocore.exceptions.ClientError, google.auth.exceptions.GoogleAuthError, ClientAuthenticationError)


def main():
    issuer, ca_file, key_file, folder, algorithm = sys.argv[1:]
    # All of them go by these, whatever this machine's say.
    os.environ.update(dict.fromkeys(["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"], ca_file))
    clouds, folder = Clouds(issuer, ca_file, key_file), pathlib.Path(folder)
    files = {aws: "aws.token", gcp: "gcp.token", azure: "azure.token"}
    for call, name in files.items():
        # Of another cloud's audience, and for Azure the one algorithm that it knows.
        other = next(file for file in files.values() if file != name)
        for file, is_taken in [(name, call is not azure or algorithm == "RS256"), (other, False)]:
            try:
                held = call(clouds, folder / file)
                assert is_taken, f"{call.__name__} was given {held} for {file}"
                print(f"{call.__name__}: {file}, {algorithm}: given {held!r}")
            except REFUSALS as error:
                assert not is_taken, f"{call.__name__}: {file}: {error} {clouds.refused}"
                print(f"{call.__name__}: {file}, {algorithm}: refused, {clouds.refused[-1]}")


main()
