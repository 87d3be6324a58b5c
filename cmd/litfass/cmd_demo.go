package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
)

// demoNames are the nodes of the demo: a triangle, each peers with both others.
var demoNames = [...]string{"harbour", "market", "tower"}

const demoPort = 11190 // the first node's NNTP port; the others follow, HTTP is 100 higher

// cmdDemo runs three peered nodes in one process and lets articles travel.
func cmdDemo(c *call) error {
	keep := c.fs.String("keep", "", "keep the nodes' data in `DIR`; else it is removed at the end")
	once := c.fs.Bool("once", false, "end when the articles have arrived everywhere")
	port := c.fs.Int("port", demoPort, "the first node's NNTP `PORT`")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	dir := *keep
	if dir == "" {
		tmp, err := os.MkdirTemp("", "litfass-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	var nodes []*demoNode
	var err error
	for i := range demoNames {
		var n *demoNode
		if n, err = c.startDemoNode(ctx, dir, i, *port); err != nil {
			break
		}
		nodes = append(nodes, n)
	}
	if err == nil {
		err = c.runDemo(ctx, nodes, *once)
	}
	cancel()
	for _, n := range nodes {
		err = errors.Join(err, <-n.ended)
	}
	return err
}

type demoNode struct {
	server *server
	nntp   string
	ready  chan struct{}
	ended  chan error
}

func demoAddr(port, i int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port+i)) }

// startDemoNode opens one node and starts it.
func (c *call) startDemoNode(ctx context.Context, dir string, i, port int) (*demoNode, error) {
	cfg := defaults()
	cfg.Host, cfg.Data = demoNames[i]+".demo.invalid", filepath.Join(dir, demoNames[i])
	cfg.NNTP.Listen, cfg.HTTP.Listen, cfg.SMTP.Listen = []string{demoAddr(port, i)}, []string{demoAddr(port+100, i)}, nil
	cfg.HTTP.URL, cfg.Torrent.Listen = "http://"+demoAddr(port+100, i), ""
	for j, name := range demoNames {
		if j != i {
			p := peerDefaults()
			p.Name, p.Address, p.From = name+".demo.invalid", demoAddr(port, j), []string{"127.0.0.0/8"}
			cfg.Peer = append(cfg.Peer, p)
		}
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelError}))
	k, err := openCore(ctx, cfg, log, c.getenv, time.Second)
	if err != nil {
		return nil, err
	}
	n := &demoNode{nntp: cfg.NNTP.Listen[0], ready: make(chan struct{}), ended: make(chan error, 1)}
	quiet := *c
	quiet.out = discard{}
	n.server = &server{core: k, call: &quiet, log: log, whenReady: func() { close(n.ready) }}
	go func() { n.ended <- errors.Join(n.server.run(ctx), k.close()) }()
	select {
	case <-n.ready:
		return n, nil
	case err := <-n.ended:
		if err == nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("start %s: %w; another port: --port N", cfg.Host, err)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// runDemo posts an article at each node and says when the others have it.
func (c *call) runDemo(ctx context.Context, nodes []*demoNode, once bool) error {
	fmt.Fprintf(c.out, "Three nodes run, each peers with both others:\n\n")
	for i, n := range nodes {
		fmt.Fprintf(c.out, "  %-22s news://%s   http://%s/\n", n.server.core.host, n.nntp, n.server.core.cfg.HTTP.Listen[0])
		if i == len(nodes)-1 {
			fmt.Fprintln(c.out)
		}
	}
	for i, n := range nodes {
		begin := time.Now()
		text := fmt.Sprintf("Hello from %s. This article was posted there and flooded to the others.\r\n", n.server.core.host)
		res, err := n.server.core.agent.Inject(ctx, &article.Draft{
			Header: [][2]string{
				{"From", "Demo <demo@" + n.server.core.host + ">"}, {"Newsgroups", "mesh.talk"}, {"Subject", "Hello from " + demoNames[i]},
			},
			Body: bytes.NewReader([]byte(text)),
		}, agent.Origin{Door: "control"})
		if err != nil {
			return fmt.Errorf("post at %s: %w", n.server.core.host, err)
		}
		for _, other := range nodes {
			if other != n {
				if err := other.await(ctx, res.ID); err != nil {
					return err
				}
				fmt.Fprintf(c.out, "  posted at %-8s, at %-8s after %.1f ms\n", demoNames[i], other.server.core.host[:len(other.server.core.host)-len(".demo.invalid")],
					float64(time.Since(begin).Microseconds())/1000)
			}
		}
	}
	if once {
		return nil
	}
	fmt.Fprintf(c.out, "\nPost at one with a newsreader (group mesh.talk) and read at another. Ctrl-C ends it.\n")
	<-ctx.Done()
	return nil
}

// await returns when the node has the article.
func (n *demoNode) await(ctx context.Context, id article.ID) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s := n.server.core.spool
	for {
		at := s.Last()
		if _, err := s.ByID(ctx, id); err == nil {
			return nil
		}
		if err := s.Wait(ctx, at); err != nil {
			return fmt.Errorf("%s did not arrive at %s: %w", id, n.server.core.host, err)
		}
	}
}
