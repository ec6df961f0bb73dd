"""A hub of models in a folder of this machine: what huggingface_hub's client asks of the real one, over HTTP."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def serving(folder):
    """Return the class that answers from a folder, one folder OWNER/NAME a model."""

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def reply(self, code, value=None, body=b"", **headers):
            body = body if value is None else json.dumps(value).encode()
            self.send_response(code)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def missing(self):
            self.reply(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")

        def do_POST(self):
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path).path.strip("/").split("/")
            host = f"http://{self.headers['Host']}"
            if parts[:3] == ["api", "repos", "create"]:
                asked = json.loads(sent)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                (folder / name).mkdir(parents=True, exist_ok=True)
                self.reply(200, {"url": f"{host}/{name}", "name": name, "id": name})
            elif parts == ["api", "validate-yaml"]:
                self.reply(200, {"errors": [], "warnings": []})
            elif parts[4:5] == ["preupload"]:
                files = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in json.loads(sent)["files"]
                ]
                self.reply(200, {"files": files})
            elif parts[4:5] == ["commit"]:
                lines = [json.loads(line)["value"] for line in sent.splitlines() if json.loads(line)["key"] == "file"]
                for each in lines:
                    (folder / parts[2] / parts[3] / each["path"]).write_bytes(base64.b64decode(each["content"]))
                url = f"{host}/{parts[2]}/{parts[3]}/commit/{sha(folder / parts[2] / parts[3])}"
                self.reply(200, {"commitUrl": url, "commitOid": url.rpartition("/")[2], "success": True})
            else:
                self.missing()

        def do_GET(self):
            parts = urlsplit(self.path).path.strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            model = folder / "/".join(parts[2:4] if api else parts[:2])
            if not model.is_dir():
                self.missing()
            elif api and parts[4:5] == ["tree"]:
                self.reply(200, [described(file) for file in sorted(model.iterdir())])
            elif api:
                siblings = [{"rfilename": file.name} for file in sorted(model.iterdir())]
                self.reply(200, {"id": "/".join(parts[2:4]), "sha": sha(model), "siblings": siblings, "private": False})
            else:
                data = (model / parts[-1]).read_bytes()
                self.reply(200, body=data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha(model))

        do_HEAD = do_GET

    return Answer


def described(file):
    data = file.read_bytes()
    return {"type": "file", "path": file.name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def sha(model):
    """Return what stands for the commit of a model: a sum of its files."""
    return hashlib.sha1(b"".join(file.read_bytes() for file in sorted(model.iterdir()))).hexdigest()


@contextmanager
def local_hub(folder):
    """Serve a folder as a hub; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), serving(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
