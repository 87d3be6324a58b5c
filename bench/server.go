package main

import (
	"github.com/litfass/litfass/test/innbox"
	"github.com/litfass/litfass/test/nodebox"
)

// server is one that is measured.
type server interface {
	name() string
	addr() string
	Pid() int
	Remove() // stops it and removes its files
}

// node is a litfass node.
type node struct{ *nodebox.Node }

func (n node) name() string { return "litfass" }
func (n node) addr() string { return n.Addr }

// loader is the load generator, as a peer that is not fed.
var loader = nodebox.Link{Name: "bench.invalid", Send: "!*"}

// inn is an INN.
type inn struct {
	*innbox.Box
	storage string
}

func (i inn) name() string { return "INN " + i.storage }
func (i inn) addr() string { return i.Addr }

func newINN(bin, storage string, groups []string) (server, error) {
	b, err := innbox.New(bin, innbox.Options{Storage: storage, Groups: groups})
	if err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		b.Remove()
		return nil, err
	}
	return inn{b, storage}, nil
}

// ours starts a node that takes articles from the load generator.
func (b *bench) ours(links ...nodebox.Link) (node, error) {
	return b.start(nodebox.Options{Host: "one.bench.example", Links: links})
}

// start starts a node with the corpus' groups.
func (b *bench) start(o nodebox.Options) (node, error) {
	o.Groups, o.Links = b.groups.names(), append([]nodebox.Link{loader}, o.Links...)
	n, err := nodebox.New(b.litf, o)
	if err != nil {
		return node{}, err
	}
	if _, err := n.Start(); err != nil {
		n.Remove()
		return node{}, err
	}
	return node{n}, nil
}
