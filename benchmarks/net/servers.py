# SPDX-License-Identifier: MIT
"""Tandem, its peers and the floors as servers: how each is built from Debian's packages (ws: from npm), and how it is started."""
import collections
import os
import pathlib
import shutil
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lib  # noqa: E402
from lib import DEBIAN, output, version  # noqa: E402

OUT = lib.BUILD / 'bench' / 'net'
TANDEM = [str(lib.BUILD / 'tandem'), 'serve', '--listen', '127.0.0.1:0', '--pool', '1', '--audio-pool', '1', '--backend']


def free_port():
    """For those who cannot be told to take any and say which."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def compiled(folder, name, *libraries):
    (OUT / folder).mkdir(parents=True, exist_ok=True)
    program = OUT / folder / name
    subprocess.run(['gcc', '-O2', '-D_GNU_SOURCE', f'-I{lib.ROOT / "include"}', HERE / folder / f'{name}.c', '-o', program, *libraries],
                   check=True, env=DEBIAN)
    return str(program)


def client(name, *libraries):
    return compiled('', name, *libraries)


def certificate():
    """A key and a self-signed certificate for localhost."""
    key, chain = OUT / 'key.pem', OUT / 'cert.pem'
    if not chain.exists():
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
                        '-subj', '/CN=localhost', '-keyout', key, '-out', chain], check=True, capture_output=True, env=DEBIAN)
    return str(key), str(chain)


def tandem():
    flags = [f'-L{lib.BUILD}', '-ltandem', f'-Wl,-rpath,{lib.BUILD}']
    echo, room = compiled('tandem', 'echo', *flags), compiled('tandem', 'room', *flags)
    key, chain = certificate()
    tls = ['--tls-cert', chain, '--tls-key', key]
    return '', {f'{what} {backend}': command for backend in ('uring', 'epoll') for what, command in (
        ('tcp', [echo, backend]), ('room', [room, backend]), ('serve', TANDEM + [backend]), ('tls', TANDEM + [backend, *tls]))}


def floor():
    return '', {'tcp epoll': [compiled('floor', 'epoll')], 'tcp uring': [compiled('floor', 'uring', '-luring')]}


def uv():
    return version('libuv1-dev'), {'tcp': [compiled('uv', 'echo', '-luv')]}


def lws():
    return version('libwebsockets-dev'), {'ws': [compiled('lws', 'echo', '-lwebsockets', '-lssl', '-lcrypto'), 'PORT']}


def go():
    out = OUT / 'go'
    out.mkdir(parents=True, exist_ok=True)
    settings = dict(DEBIAN, GOCACHE=str(out / 'cache'), GOPATH='/usr/share/gocode', GO111MODULE='off', GOTOOLCHAIN='local')
    subprocess.run(['go', 'build', '-o', out / 'server', HERE / 'go' / 'server.go'], check=True, env=settings)
    return output('go', 'env', 'GOVERSION').removeprefix('go'), {what: [str(out / 'server'), what] for what in ('tcp', 'http')}


def tokio():
    out = OUT / 'tokio'
    shutil.copytree(HERE / 'tokio', out, dirs_exist_ok=True)  # cargo writes beside what it builds
    subprocess.run(['cargo', 'build', '--quiet', '--release', '--offline', '--config', 'source.crates-io.replace-with="debian"',
                    '--config', 'source.debian.directory="/usr/share/cargo/registry"'], check=True, cwd=out,
                   env=dict(DEBIAN, CARGO_HOME=str(out / 'home'), RUSTC='/usr/bin/rustc', CARGO_TARGET_DIR=str(out / 'target')))
    program = str(out / 'target' / 'release' / 'net')
    return version('librust-tokio-dev'), {'tcp': [program, 'tcp'], 'http': [program, 'http']}


def node():
    out = OUT / 'node'
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / 'node' / 'server.js', out)
    if not (out / 'node_modules' / 'ws').exists():
        subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefix', out, 'ws'], check=True, stdout=sys.stderr)
    found = output('node', '-p', 'require("ws/package.json").version', cwd=out) if shutil.which('node', path='/usr/bin') else '?'
    return found, {'http': ['node', str(out / 'server.js')]}


def python():
    return version('python3-websockets'), {'ws': ['/usr/bin/python3', str(HERE / 'python' / 'websockets_echo.py')],
                                           'http': ['/usr/bin/python3', str(HERE / 'python' / 'hello.py')]}


NGINX = '''daemon off; master_process off; worker_processes 1; pid {out}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 16000; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; client_body_temp_path {out}/b; proxy_temp_path {out}/p;
  fastcgi_temp_path {out}/f; uwsgi_temp_path {out}/u; scgi_temp_path {out}/s;
  server {{ listen 127.0.0.1:PORT{tls}; location / {{ default_type text/plain; return 200 "ok"; }} }} }}
'''


def nginx():
    out = OUT / 'nginx'
    out.mkdir(parents=True, exist_ok=True)
    key, chain = certificate()
    for name, tls in (('http', ' backlog=4096'), ('tls', f' ssl; ssl_certificate {chain}; ssl_certificate_key {key}; ssl_session_cache off')):
        (out / f'{name}.conf').write_text(NGINX.format(out=out, tls=tls))
    return version('nginx-light'), {name: ['/usr/sbin/nginx', '-p', str(out), '-c', str(out / f'{name}.conf')] for name in ('http', 'tls')}


H2O = '''num-threads: 1
max-connections: 16000
error-log: /dev/null
http1-request-timeout: 100
hosts:
  default:
    listen: {{host: 127.0.0.1, port: PORT}}
    paths: {{/: {{file.dir: {out}/root}}}}
'''


def h2o():
    out = OUT / 'h2o'
    (out / 'root').mkdir(parents=True, exist_ok=True)
    (out / 'root' / 'hello').write_text('hello')
    (out / 'http.conf').write_text(H2O.format(out=out))
    return version('h2o'), {'http': ['/usr/bin/h2o', '-c', str(out / 'http.conf')]}


RUNTIMES = {'floor': floor, 'tandem': tandem, 'uv': uv, 'tokio': tokio, 'go': go, 'nginx': nginx, 'h2o': h2o, 'lws': lws, 'node': node,
            'python': python}

# `program`: which of the runtime's; `path`: what its client asks for.
Contestant = collections.namedtuple('Contestant', 'runtime program label path')
TCP = [Contestant('floor', 'tcp uring', 'raw io_uring (floor)', ''), Contestant('floor', 'tcp epoll', 'raw epoll (floor)', ''),
       Contestant('tandem', 'tcp uring', 'tandem, uring', ''), Contestant('tandem', 'tcp epoll', 'tandem, epoll', ''),
       Contestant('uv', 'tcp', 'libuv', ''), Contestant('tokio', 'tcp', 'tokio', ''), Contestant('go', 'tcp', 'Go', '')]
HTTP = [Contestant('tandem', 'serve uring', 'tandem serve, uring', '/healthz'),
        Contestant('tandem', 'serve epoll', 'tandem serve, epoll', '/healthz'), Contestant('nginx', 'http', 'nginx', '/hello'),
        Contestant('h2o', 'http', 'h2o', '/hello'), Contestant('tokio', 'http', 'hyper', '/hello'),
        Contestant('go', 'http', 'Go', '/hello'), Contestant('node', 'http', 'node', '/hello'),
        Contestant('python', 'http', 'uvicorn + uvloop', '/hello')]
WS = [Contestant('tandem', 'serve uring', 'tandem serve, uring', '/echo'),
      Contestant('tandem', 'serve epoll', 'tandem serve, epoll', '/echo'), Contestant('lws', 'ws', 'libwebsockets', '/'),
      Contestant('go', 'http', 'Go gorilla', '/echo'), Contestant('node', 'http', 'npm ws', '/echo'),
      Contestant('python', 'ws', 'python3-websockets', '/')]
ROOM = [Contestant('tandem', 'room uring', 'tandem, uring', '/'), Contestant('tandem', 'room epoll', 'tandem, epoll', '/'),
        Contestant('node', 'http', 'npm ws', '/room')]
TLS = [Contestant('tandem', 'tls uring', 'tandem serve, uring', '/healthz'), Contestant('nginx', 'tls', 'nginx', '/healthz')]


def build(runtimes):
    """{runtime: (version, programs)}; programs are None for one that cannot be built."""
    built = {}
    for name in runtimes:
        print(f'  building {name}', file=sys.stderr)
        try:
            built[name] = RUNTIMES[name]()
        except (OSError, AttributeError, subprocess.CalledProcessError) as why:
            if name == 'tandem':
                raise
            print(f'  {name} is absent: {why}', file=sys.stderr)
            built[name] = ('', None)
    return built


class Server:
    """A contestant's server, on core 0; `port` once it is up."""

    def __init__(self, command, number):
        self.out = OUT / f'run-{number}'
        port, config = None, [word for word in command if word.endswith('.conf')]
        if 'PORT' in command or config:
            port = free_port()
        if config:
            text = pathlib.Path(config[0]).read_text().replace('PORT', str(port))
            placed = pathlib.Path(config[0]).with_suffix('.run')
            placed.write_text(text)
            command = [str(placed) if word == config[0] else word for word in command]
        command = [str(port) if word == 'PORT' else word for word in command]
        self.child = subprocess.Popen(['taskset', '-c', '0', *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                      env=dict(os.environ, PYTHONWARNINGS='ignore'), preexec_fn=more_files)
        self.port = port or int(self.child.stdout.readline().rsplit(':', 1)[1].rstrip('/\n '))
        self.wait_up()

    def wait_up(self):
        while self.child.poll() is None:
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=5).close()
                return
            except ConnectionRefusedError:
                pass
        raise RuntimeError(f'a server ended with {self.child.returncode}')

    def cpu_seconds(self):
        return lib.cpu_seconds(self.child.pid)

    def rss_bytes(self):
        text = pathlib.Path(f'/proc/{self.child.pid}/smaps_rollup').read_text()
        return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(('Private_', 'Shared_')))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()


def more_files():
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, hard), hard))
