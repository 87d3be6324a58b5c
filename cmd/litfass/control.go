package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// control answers the commands: one POST per command, with JSON or, where file
// contents travel, with a stream as body. Only this user reaches it.
type control struct {
	core *core
	mux  *http.ServeMux
}

// newControl makes the handler. A room adds its acts in a file of its own and
// names them here.
func newControl(k *core) *control {
	c := &control{core: k, mux: http.NewServeMux()}
	c.groupActs()
	c.articleActs()
	c.batchActs()
	c.userActs()
	c.peerActs()
	c.keyActs()
	c.spoolActs()
	c.waitingActs()
	c.moderateActs()
	c.feedActs()
	c.torrentActs()
	c.mailActs()
	act(c, "search", c.search)
	return c
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// act registers what answers a command: in is decoded from the request's JSON.
func act[In, Out any](c *control, name string, fn func(ctx context.Context, in In) (Out, error)) {
	c.mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			reply(w, nil, fmt.Errorf("the request is no JSON: %w", err))
			return
		}
		out, err := fn(r.Context(), in)
		reply(w, out, err)
	})
}

// failure is the JSON of an error.
type failure struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		out = failure{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(out) // who asked is gone: nobody to tell
}

// node is the connection of a command to the node, or to the data itself.
type node struct {
	http  *http.Client
	live  bool // a node runs
	close func() error
}

// errNoNode means that no node runs on the data folder.
var errNoNode = errors.New("no node runs")

// reach finds the running node, if any.
func reach(ctx context.Context, dir string) (*node, error) {
	conn, err := dialControl(ctx, dir)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("reach the node: %w; run this as the user whose node it is", err)
		}
		return nil, fmt.Errorf("%w on %s", errNoNode, dir)
	}
	conn.Close()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialControl(ctx, dir) }}
	return &node{http: &http.Client{Transport: t}, live: true, close: func() error { t.CloseIdleConnections(); return nil }}, nil
}

// node connects to the running node, or opens the data if none runs.
func (c *call) node() (*node, error) {
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return nil, err
	}
	for wait := 0; ; wait++ {
		n, err := reach(c.ctx, cfg.Data)
		if !errors.Is(err, errNoNode) {
			return n, err
		}
		k, err := openCore(c.ctx, cfg, c.logger(cfg), c.getenv, 500*time.Millisecond)
		if err == nil {
			return within(k), nil
		}
		if !errors.Is(err, errHeld) || wait > 20 { // a node is starting, or another command works
			return nil, err
		}
	}
}

// within serves the control handler in this process, over pipes.
func within(k *core) *node {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: newControl(k), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { _ = s.Serve(l); close(served) }()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }}
	return &node{http: &http.Client{Transport: t}, close: func() error {
		t.CloseIdleConnections()
		s.Close()
		<-served
		return k.close()
	}}
}

// pipes is a listener whose connections are made by dial.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- a:
		return b, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// stream sends body to an act and returns its answer, to be read and closed.
func (n *node) stream(ctx context.Context, name string, query string, body io.Reader) (io.ReadCloser, error) {
	target := "http://node/v1/" + name
	if query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	res, err := n.http.Do(req)
	if err != nil {
		if where := (*url.Error)(nil); errors.As(err, &where) { // it names an address that is none
			err = where.Err
		}
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var f failure
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if res.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("the running node does not know this command; it is of another version, restart it")
	}
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		return nil, fmt.Errorf("the node answers %s", res.Status)
	}
	return nil, errors.New(f.Error)
}

// ask sends in and decodes the answer into out, which may be nil.
func (n *node) ask(ctx context.Context, name string, in, out any) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(json.NewEncoder(w).Encode(in)) }()
	defer r.Close()
	body, err := n.stream(ctx, name, "", r)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	return nil
}

// ask is the whole of a simple command: connect, ask, disconnect.
func (c *call) ask(name string, in, out any) (err error) {
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	return n.ask(c.ctx, name, in, out)
}
