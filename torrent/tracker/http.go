package tracker

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Announce answers GET /announce and /announce.php (BEP 3, 7, 23). A failure is a
// bencoded reason with status 200: that is what clients show.
func (t *Tracker) Announce(w http.ResponseWriter, r *http.Request) {
	t.Counts.HTTPAnnounces.Add(1)
	a, why := t.httpAnnouncement(r)
	if why == "" {
		if res := t.announce(a); !res.refused {
			reply(w, res.encode())
			return
		}
		why = "too many announces from your address, slow down"
	}
	t.Counts.Refused.Add(1)
	reply(w, failure(why))
}

func reply(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b) // the client is gone then
}

func failure(why string) []byte {
	return []byte("d14:failure reason" + strconv.Itoa(len(why)) + ":" + why + "e")
}

func (t *Tracker) httpAnnouncement(r *http.Request) (a announcement, why string) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a, "malformed query"
	}
	hash := q.Get("info_hash")
	if len(hash) != 20 {
		return a, "info_hash must have 20 octets"
	}
	if len(q.Get("peer_id")) != 20 {
		return a, "peer_id must have 20 octets"
	}
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil || port == 0 {
		return a, "port must be 1 to 65535"
	}
	from, ok := t.client(r)
	if !ok {
		return a, "no address to list you with"
	}
	left, err := strconv.ParseUint(q.Get("left"), 10, 64)
	a = announcement{hash: Hash([]byte(hash)), from: netip.AddrPortFrom(from, uint16(port)), left: err != nil || left > 0, want: -1}
	if n, err := strconv.Atoi(q.Get("numwant")); err == nil && n >= 0 {
		a.want = n
	}
	switch q.Get("event") {
	case "started":
		a.event = eventStarted
	case "stopped":
		a.event = eventStopped
	case "completed":
		a.event = eventCompleted
	}
	if l, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ap, err := netip.ParseAddrPort(l.String()); err == nil {
			a.local = ap.Addr().Unmap()
		}
	}
	return a, ""
}

// client is the source address of a request; ip= is ignored. A reverse proxy's
// X-Forwarded-For counts if the proxy is configured: the last address in it.
func (t *Tracker) client(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	addr := ap.Addr().Unmap().WithZone("")
	for _, p := range t.cfg.Proxies {
		if !p.Contains(addr) {
			continue
		}
		list := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if fwd, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
			return fwd.Unmap().WithZone(""), true
		}
	}
	return addr, true
}

func (res *answer) encode() []byte {
	b := make([]byte, 0, 128+len(res.peers4)+len(res.peers6))
	b = append(b, "d8:completei"...)
	b = strconv.AppendInt(b, int64(res.seeds), 10)
	b = append(b, "e10:incompletei"...)
	b = strconv.AppendInt(b, int64(res.leechers), 10)
	b = append(b, "e8:intervali"...)
	b = strconv.AppendInt(b, int64(res.interval), 10)
	b = append(b, "e12:min intervali60e5:peers"...)
	b = append(append(strconv.AppendInt(b, int64(len(res.peers4)), 10), ':'), res.peers4...)
	if len(res.peers6) > 0 {
		b = append(b, "6:peers6"...)
		b = append(append(strconv.AppendInt(b, int64(len(res.peers6)), 10), ':'), res.peers6...)
	}
	return append(b, 'e')
}

// scrapeMax is how many infohashes one scrape may name.
const scrapeMax = 100

// Scrape answers GET /scrape (BEP 48). Without an infohash it would list
// everything: that is off (spec §10).
func (t *Tracker) Scrape(w http.ResponseWriter, r *http.Request) {
	t.Counts.Scrapes.Add(1)
	q, err := url.ParseQuery(r.URL.RawQuery)
	hashes := q["info_hash"]
	if err != nil || len(hashes) == 0 || len(hashes) > scrapeMax {
		reply(w, failure("name 1 to 100 info_hash"))
		return
	}
	b := []byte("d5:filesd")
	for _, h := range sortedUnique(hashes) {
		if len(h) != 20 {
			reply(w, failure("info_hash must have 20 octets"))
			return
		}
		seeds, done, leechers := t.scrape(Hash([]byte(h)))
		b = append(append(b, "20:"...), h...)
		b = append(b, "d8:completei"+strconv.Itoa(seeds)+"e10:downloadedi"+strconv.Itoa(done)+"e10:incompletei"+strconv.Itoa(leechers)+"ee"...)
	}
	reply(w, append(b, "ee"...))
}
