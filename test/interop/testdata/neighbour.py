# Another implementation of DNS-SD (python3-zeroconf) on loopback: announces one node,
# then prints every service it finds, a line each, until standard input ends.
import socket, sys, threading
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

z = Zeroconf(interfaces=["127.0.0.1"])
nntp = "_nntp._tcp.local."
info = ServiceInfo("_p2pstorage._sub." + nntp, "box9 news." + nntp, addresses=[socket.inet_aton("127.0.0.1")], port=5119, server="box9.local.",
                   properties={"txtvers": "1", "host": "box9.example", "id": "zeroconf", "peer": "ask", "g": "*"})
z.register_service(info)
lock = threading.Lock()

def say(*words):
    with lock:
        print(*words, flush=True)

class Listener:
    def add_service(self, zc, kind, name):
        i = zc.get_service_info(kind, name, 3000)
        if i is not None:
            text = {k.decode(): (v or b"").decode() for k, v in i.properties.items()}
            say("found", kind, i.port, i.parsed_addresses()[0], " ".join(k + "=" + v for k, v in sorted(text.items())), "name=" + name)

    def update_service(self, zc, kind, name):
        pass

    def remove_service(self, zc, kind, name):
        say("gone", kind, name)

browsers = [ServiceBrowser(z, t, Listener()) for t in ("_p2pstorage._sub." + nntp, "_http._tcp.local.", "_bittorrent-tracker._tcp.local.")]
say("ready")
sys.stdin.read()
z.close()
