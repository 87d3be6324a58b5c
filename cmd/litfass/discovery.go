package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/discover"
)

// discoverySection is about nodes on the same link.
type discoverySection struct {
	Interfaces []string `toml:"interfaces" doc:"network interfaces on which this node's doors are announced and others are heard (DNS-SD, multicast DNS); \"*\": all; empty: off"`
	Peer       string   `toml:"peer" doc:"ask | no: whether others are told that this node would be their neighbour" oneof:"ask no"`
}

const longFound = `Nodes that announce themselves on the links of discovery.interfaces. What they say of
themselves is a hint and proves nothing: compare the key with its owner before you add it.
Articles flow once both sides have added each other; "peer invite" does both at once.`

// neighbourJSON is one node that was heard.
type neighbourJSON struct {
	Name      string   `json:"name"`
	Host      string   `json:"host"`
	ID        string   `json:"id,omitempty"`
	Key       string   `json:"key,omitempty"`
	Version   string   `json:"version,omitempty"`
	Peering   string   `json:"peering"`
	Groups    string   `json:"groups,omitempty"`
	Interface string   `json:"interface"`
	Addresses []string `json:"addresses"`
	Since     string   `json:"since"`
	Peer      string   `json:"peer,omitempty"`    // what we call it, if it is a neighbour already
	Command   string   `json:"command,omitempty"` // what makes it one
}

// startDiscovery announces the doors that are open and listens for other nodes.
func (s *server) startDiscovery(context.Context) (*part, error) {
	k := s.core
	if len(k.cfg.Discovery.Interfaces) == 0 {
		return nil, nil
	}
	n := discover.New(discover.Config{
		Name: k.host, ID: k.keys.NodeID().String(), Services: s.services(), Medium: discover.Interfaces(k.cfg.Discovery.Interfaces), Log: s.log,
		Found: func(n discover.Neighbour) {
			if f := k.neighbourJSON(n); f.Command != "" {
				s.log.Info("found a node on the link; it becomes a neighbour with the command", "host", f.Host, "interface", f.Interface, "command", f.Command)
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { n.Run(ctx) })
	k.found = n.Neighbours
	return &part{name: "discovery", stop: func(context.Context) error {
		cancel()
		wg.Wait()
		return nil
	}}, nil
}

// services are the doors that others on a link can reach: docs/spec/torrent.md §9.
func (s *server) services() (out []discover.Service) {
	k := s.core
	id := "id=" + k.keys.NodeID().String()
	add := func(typ, sub, label string, addrs []string, text ...string) {
		for _, a := range addrs {
			host, port, err := net.SplitHostPort(a)
			n, err2 := strconv.ParseUint(port, 10, 16)
			ip, err3 := netip.ParseAddr(or(host, "::"))
			if err != nil || err2 != nil || err3 != nil || ip.IsLoopback() && !s.onLoopback() {
				continue
			}
			out = append(out, discover.Service{Type: typ, Subtype: sub, Label: label, Port: uint16(n), On: ip, Text: append([]string{"txtvers=1"}, text...)})
			return // one port of a kind
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		switch p.name {
		case "nntp":
			groups := "*,!local.*"
			add("_nntp._tcp", "_p2pstorage", "news", p.addrs, id, "host="+k.host, "key="+k.tls.Pin(), "v="+versionString(), "peer="+k.cfg.Discovery.Peer, "g="+groups)
		case "http":
			add("_http._tcp", "", "forum", p.addrs, "path=/", id)
			if k.torrents.tracks() {
				add("_bittorrent-tracker._tcp", "", "tracker", p.addrs, "path=/announce", id)
			}
		case "smtp":
			add("_smtp._tcp", "", "mail", k.cfg.SMTP.Listen, id)
			add("_submission._tcp", "", "mail submission", k.cfg.SMTP.Submission, id)
		}
	}
	return out
}

// onLoopback says whether doors on this machine only are announced to it.
func (s *server) onLoopback() bool {
	for _, name := range s.core.cfg.Discovery.Interfaces {
		if i, err := net.InterfaceByName(name); err == nil && i.Flags&net.FlagLoopback != 0 {
			return true
		}
	}
	return false
}

func (k *core) neighbourJSON(n discover.Neighbour) neighbourJSON {
	f := neighbourJSON{Name: n.Name, Host: n.Host, ID: n.ID, Key: n.Key, Version: n.Version, Peering: n.Peering, Groups: n.Groups,
		Interface: n.Link, Since: n.Since.UTC().Format(time.RFC3339)}
	for _, a := range n.Addrs {
		f.Addresses = append(f.Addresses, a.String())
	}
	peers, _ := k.peers.sections()
	for _, p := range peers {
		if n.Key != "" && p.Key == n.Key || or(p.Path, p.Name) == n.Host {
			f.Peer = p.Name
		}
	}
	if f.Peer == "" && n.Peering != "no" && goodHost(n.Host) && len(f.Addresses) > 0 {
		f.Command = fmt.Sprintf("litfass peer add %s '%s'", n.Host, f.Addresses[0])
		if strings.HasPrefix(n.Key, "spki:sha256:") {
			f.Command += " --key '" + n.Key + "'"
		}
	}
	return f
}

func (c *control) peerFound(context.Context, struct{}) ([]neighbourJSON, error) {
	k := c.core
	if k.found == nil {
		return nil, fmt.Errorf("nothing is listened for: set discovery.interfaces to the interfaces of the mesh, and start the node again")
	}
	out := []neighbourJSON{}
	for _, n := range k.found() {
		out = append(out, k.neighbourJSON(n))
	}
	return out, nil
}

func cmdPeerFound(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	var list []neighbourJSON
	if err := c.ask("peer/found", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(c.out, "No other node is announced on the links of discovery.interfaces.")
		return nil
	}
	var rows [][]string
	var todo []string
	for _, f := range list {
		state := "new"
		switch {
		case f.Peer != "":
			state = "neighbour already, as " + f.Peer
		case f.Command != "":
			todo = append(todo, f.Command)
		default:
			state = "wants no neighbours"
		}
		rows = append(rows, []string{f.Host, f.Addresses[0], f.Interface, f.Groups, or(f.Key, "-"), state})
	}
	c.printTable([]string{"HOST", "ADDRESS", "LINK", "GROUPS", "KEY", "STATE"}, rows)
	if len(todo) > 0 {
		fmt.Fprintf(c.out, "\nCompare the key with its owner; then, here and likewise there:\n  %s\n", strings.Join(todo, "\n  "))
	}
	return nil
}
