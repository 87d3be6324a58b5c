package directory

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/litfass/litfass/pki"
)

// Bounds of what is sent and taken over HTTP.
const (
	sinceMost   = 1000    // statements of one answer of since (§7.3)
	keyMost     = 1000    // statements of one answer of key
	postMost    = 1 << 20 // octets of one POST
	snapshotMax = 1 << 30 // octets of a snapshot, unpacked: read with a limit
)

// Path is where Handler's paths begin.
const Path = "/.well-known/pki/v1/"

// Handler answers under Path (§7.3).
func Handler(l *pki.Ledger) http.Handler {
	h := &handler{l}
	m := http.NewServeMux()
	m.HandleFunc("GET "+Path+"id/{id}", h.id)
	m.HandleFunc("GET "+Path+"key/{key}", h.key)
	m.HandleFunc("GET "+Path+"since/{n}", h.since)
	m.HandleFunc("GET "+Path+"chain/{id}/{q}", h.chain)
	m.HandleFunc("GET "+Path+"snapshot", h.snapshot)
	m.HandleFunc("POST "+Path+"statements", h.post)
	return m
}

type handler struct{ l *pki.Ledger }

// send writes statements; everything is proved by itself and good for 5 minutes.
func send(w http.ResponseWriter, list []*pki.Statement) {
	w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	for _, s := range list {
		if _, err := io.WriteString(w, s.Text()); err != nil {
			return // the client is gone
		}
	}
}

func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, pki.ErrBeyond) {
		http.Error(w, err.Error(), http.StatusGone)
		return
	}
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

func (h *handler) id(w http.ResponseWriter, r *http.Request) {
	id, err := pki.ParseID(r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := h.l.ByIdentity(id)
	switch {
	case err != nil:
		fail(w, err)
	case len(list) == 0:
		http.Error(w, "nothing is known of this identity here", http.StatusNotFound)
	default:
		send(w, list)
	}
}

func (h *handler) key(w http.ResponseWriter, r *http.Request) {
	k, err := pki.ParseKey("ed25519 " + r.PathValue("key"))
	if err != nil {
		http.Error(w, "the key "+err.Error(), http.StatusBadRequest)
		return
	}
	list, err := h.l.ByKey(k, keyMost)
	switch {
	case err != nil:
		fail(w, err)
	case len(list) == 0:
		http.Error(w, "nothing names this key here", http.StatusNotFound)
	default:
		send(w, list)
	}
}

func (h *handler) since(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 63)
	if err != nil {
		http.Error(w, "since wants a number", http.StatusBadRequest)
		return
	}
	list, next, err := h.l.Since(n, sinceMost)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Pki-Next", strconv.FormatUint(next, 10))
	send(w, list)
}

func (h *handler) chain(w http.ResponseWriter, r *http.Request) {
	id, err := pki.ParseID(r.PathValue("id"))
	q, err2 := strconv.ParseUint(r.PathValue("q"), 10, 63)
	if err != nil || err2 != nil {
		http.Error(w, "chain wants an identity and a number", http.StatusBadRequest)
		return
	}
	b, err := h.l.ChainText(id, q)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(b) // an error means that the client is gone
}

func (h *handler) snapshot(w http.ResponseWriter, _ *http.Request) {
	last, err := h.l.Last() // what comes while it is written is in it, too, and asked for again
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Pki-Next", strconv.FormatUint(last, 10))
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Cache-Control", "public, max-age=300")
	if err := h.l.Snapshot(w); err != nil {
		panic(http.ErrAbortHandler) // the status is out: cut the connection, so that it is not taken for whole
	}
}

// post takes statements, under quotas by address.
func (h *handler) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, postMost))
	if err != nil {
		http.Error(w, "at most 1 MiB of statements at a time", http.StatusRequestEntityTooLarge)
		return
	}
	list, err := pki.ParseStatements(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	out, err := h.l.Apply("http:"+host, list)
	if err != nil {
		fail(w, err)
		return
	}
	status := http.StatusOK
	if out.Count(pki.Stopped) > 0 {
		status = http.StatusTooManyRequests
	}
	w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
	w.WriteHeader(status)
	fmt.Fprintf(w, "taken %d, known %d, held %d, stopped %d, refused %d\n", out.Count(pki.Taken), out.Count(pki.Known),
		out.Count(pki.Held), out.Count(pki.Stopped), out.Count(pki.Refused))
}

// ReadSnapshot applies a snapshot that source gave, statement by statement
// (§7.5), in a bounded amount of memory. What is malformed ends it.
func ReadSnapshot(l *pki.Ledger, source string, r io.Reader) (taken int, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, fmt.Errorf("read a snapshot: %w", err)
	}
	var list []*pki.Statement
	apply := func() error {
		out, err := l.Apply(source, list)
		taken += out.Count(pki.Taken)
		list = list[:0]
		return err
	}
	lim := &io.LimitedReader{R: z, N: snapshotMax}
	sc := bufio.NewScanner(lim)
	sc.Buffer(make([]byte, 0, 8<<10), 8<<10) // a line of a statement is shorter than the statement
	var one strings.Builder
	take := func() error {
		s, err := pki.ParseStatement(one.String())
		one.Reset()
		if err != nil {
			return err
		}
		if list = append(list, s); len(list) == 512 {
			return apply()
		}
		return nil
	}
	for sc.Scan() {
		if sc.Text() == "pki-statement-v1" && one.Len() > 0 {
			if err := take(); err != nil {
				return taken, fmt.Errorf("read a snapshot: %w", err)
			}
		}
		if one.Len() > pki.MaxRecover {
			return taken, errors.New("read a snapshot: a statement is too long")
		}
		one.WriteString(sc.Text() + "\n")
	}
	if err := sc.Err(); err != nil {
		return taken, fmt.Errorf("read a snapshot: %w", err)
	}
	if lim.N == 0 {
		return taken, errors.New("read a snapshot: it is larger than 1 GiB")
	}
	if one.Len() > 0 {
		if err := take(); err != nil {
			return taken, fmt.Errorf("read a snapshot: %w", err)
		}
	}
	return taken, apply()
}
