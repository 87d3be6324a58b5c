package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/feeds/peer/invite"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/tlsid"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/nntpd"
)

const longInvite = `The code works once, for one node, and for two days (--for). Whoever has it can become
a neighbour: hand it over as you would a key. It names this node, where it can be reached
(the addresses of this machine, unless --address says others) and its TLS key. The other
node says "litfass peer join CODE"; afterwards each knows the other by its key.
--send and --take are what the new neighbour is offered and may bring here.`

const longJoin = `The node that printed CODE is asked to take this one as a neighbour, over TLS and only if
its key is the one in the code. If it can reach this node, at --address or where this
node listens, articles are pushed both ways; else this node pulls.`

// invitation is peer invite: its terms, and its answer.
type invitation struct {
	invite.Terms
	Addresses []string `json:"addresses,omitempty"` // where we are reached; none: this machine's
	For       string   `json:"for,omitempty"`
	Forget    bool     `json:"forget,omitempty"`

	Code      string `json:"code,omitempty"`
	Until     string `json:"until,omitempty"`
	Forgotten int    `json:"forgotten,omitempty"`
}

// joining is peer join: the request, and what became of it.
type joining struct {
	invite.Terms
	Code    string `json:"code,omitempty"`
	Address string `json:"address"` // where we can be reached, or ""

	Peer peerSection `json:"peer"`
}

func (c *call) termFlags(t *invite.Terms) {
	c.fs.StringVar(&t.Send, "send", "", "`WILDMAT` of the groups it is offered (default \"*,!local.*\")")
	c.fs.StringVar(&t.Take, "take", "", "`WILDMAT` of the groups taken from it (default \"*\")")
	c.fs.BoolVar(&t.Old, "old", false, "take what is older than spool.cutoff too")
}

func cmdPeerInvite(c *call) error {
	var in invitation
	c.termFlags(&in.Terms)
	address := c.fs.String("address", "", "`HOST:PORT` where the other node reaches this one; several with commas")
	lasts := c.fs.String("for", "2d", "the code is good for `DUR`")
	c.fs.BoolVar(&in.Forget, "forget", false, "end all invitations that nobody has used")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	in.Addresses = strings.FieldsFunc(*address, func(r rune) bool { return r == ',' || r == ' ' })
	in.For = *lasts
	var done invitation
	if err := c.ask("peer/invite", in, &done); err != nil {
		return err
	}
	switch {
	case c.json:
		return c.printJSON(done)
	case in.Forget:
		fmt.Fprintf(c.out, "%d invitations ended\n", done.Forgotten)
		return nil
	}
	fmt.Fprintf(c.out, "The other node says, until %s:\n\n  litfass peer join %s\n\nIt will look for this one at %s.\n", done.Until, done.Code, strings.Join(done.Addresses, ", "))
	if slices.ContainsFunc(done.Addresses, isLoopback) {
		fmt.Fprint(c.out, "That is this machine only: set nntp.listen to an address that the neighbour can reach, restart, and invite again.\n")
	}
	return nil
}

func cmdPeerJoin(c *call) error {
	var in joining
	c.termFlags(&in.Terms)
	c.fs.StringVar(&in.Address, "address", "", "`HOST:PORT` where the other node reaches this one")
	if err := c.parse(1, 20); err != nil {
		return err
	}
	in.Code = strings.Join(c.args, " ")
	var done joining
	if err := c.ask("peer/join", in, &done); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(done.Peer)
	}
	p := done.Peer
	fmt.Fprintf(c.out, "%s is a neighbour now, at %s: we offer it %s, and take %s from it\n", p.Name, p.Address, p.Send, p.Take)
	if p.Pull {
		fmt.Fprint(c.out, "It cannot reach this node (nntp.listen is this machine only, or --address is missing), so its news is pulled every minute.\n")
	}
	return nil
}

func (k *core) invitations() *invite.Book {
	return &invite.Book{DB: k.state, Now: k.now, Rand: rand.Reader}
}

// secretForm is a secret as XJOIN has it: one word.
func secretForm() *base32.Encoding { return base32.StdEncoding.WithPadding(base32.NoPadding) }

func (c *control) peerInvite(_ context.Context, in invitation) (invitation, error) {
	k := c.core
	if in.Forget {
		n, err := k.invitations().Forget()
		return invitation{Forgotten: n}, err
	}
	var d duration
	if err := d.UnmarshalText([]byte(in.For)); err != nil || d <= 0 {
		return in, fmt.Errorf("--for %q is no time like 2d or 12h", in.For)
	}
	code := invite.Code{Host: k.host, Addresses: in.Addresses}
	if len(code.Addresses) == 0 {
		code.Addresses = reachable(k.cfg.NNTP, interfaceAddrs())
	}
	if len(code.Addresses) == 0 {
		return in, errors.New("this node has no NNTP door: set nntp.listen")
	}
	pin, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(k.tls.Pin(), "spki:sha256:"))
	if err != nil {
		return in, fmt.Errorf("read the TLS key's name: %w", err)
	}
	copy(code.Key[:], pin)
	if _, err := invite.Parse(code.String()); err != nil {
		return in, fmt.Errorf("--address %s: say one to four like box7.mesh.example:1119: %w", strings.Join(code.Addresses, ","), err)
	}
	if err := checkTerms(in.Terms); err != nil {
		return in, err
	}
	if code.Secret, err = k.invitations().Make(in.Terms, time.Duration(d)); err != nil {
		return in, err
	}
	return invitation{Terms: in.Terms, Addresses: code.Addresses, Code: code.String(), Until: k.now().Add(time.Duration(d)).UTC().Format(time.RFC3339)}, nil
}

// checkTerms finds patterns that peerBook.change would refuse only when somebody
// joins.
func checkTerms(t invite.Terms) error {
	for _, w := range []string{t.Send, t.Take} {
		if _, err := wildmat.Parse(w); w != "" && err != nil {
			return fmt.Errorf("%q: %w", w, err)
		}
	}
	return nil
}

// changeOf is what terms say of a peer; empty patterns leave the defaults.
func changeOf(t invite.Terms) (ch peerChange) {
	if t.Send != "" {
		ch.Send = &t.Send
	}
	if t.Take != "" {
		ch.Take = &t.Take
	}
	if t.Old {
		ch.Old = &t.Old
	}
	return ch
}

// letIn is the inviting side of XJOIN.
func (k *core) letIn(_ context.Context, j nntpd.Join) (string, error) {
	no := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%w: %s", nntpd.ErrJoin, fmt.Sprintf(format, args...))
	}
	secret, err := secretForm().DecodeString(j.Secret)
	switch {
	case err != nil:
		return no("%v", invite.ErrSecret)
	case !goodHost(j.Host):
		return no("%.60q is no path identity", j.Host)
	case strings.EqualFold(j.Host, k.host):
		return no("%s is this node's own name: a node cannot join itself, and no two may have one name; set the key host of the other", j.Host)
	case k.peers.othersName(j.Host, j.Key):
		return no("a neighbour named %s is known here already, with another key or none; its operator removes it first (litfass peer rm %[1]s)", j.Host)
	}
	terms, err := k.invitations().Redeem(secret, j.Key)
	if errors.Is(err, invite.ErrSecret) {
		return no("%v", err)
	} else if err != nil {
		return "", err
	}
	_, err = k.peers.put(j.Host, j.Key, j.Address, terms, false)
	return k.host, err
}

// peerJoin is the joining side: the addresses of the code in turn, until one
// answers with the right key.
func (c *control) peerJoin(ctx context.Context, in joining) (joining, error) {
	k := c.core
	code, err := invite.Parse(in.Code)
	if err != nil {
		return in, err
	}
	pin := "spki:sha256:" + base64.StdEncoding.EncodeToString(code.Key[:])
	if k.peers.othersName(code.Host, pin) {
		return in, fmt.Errorf("a neighbour named %s is known here already, with another key or none; remove it first: litfass peer rm %[1]s", code.Host)
	}
	if err := checkTerms(in.Terms); err != nil {
		return in, err
	}
	var failed []error
	for _, address := range code.Addresses {
		own := in.Address
		if own == "" {
			own = ownAddress(k.cfg.NNTP, isLoopback(address))
		}
		err := k.askIn(ctx, address, pin, code, own)
		if err == nil {
			in.Peer, err = k.peers.put(code.Host, pin, address, in.Terms, own == "")
			return joining{Peer: in.Peer}, err
		}
		failed = append(failed, err)
		if nntp.IsCode(err, nntp.CodeJoinNo) {
			break
		}
	}
	return in, fmt.Errorf("%s did not take this node in: %w", code.Host, errors.Join(failed...))
}

// askIn says XJOIN to one address.
func (k *core) askIn(ctx context.Context, address, pin string, code invite.Code, own string) error {
	d := nntp.Dialer{Address: address, TLS: nntp.TLSStart, Config: k.tls.Client(), Pin: pin, Timeout: 10 * time.Second}
	if rest, ok := strings.CutPrefix(address, "nntps://"); ok {
		d.Address, d.TLS = rest, nntp.TLSImplicit
	}
	cl, err := d.Connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = cl.Join(secretForm().EncodeToString(code.Secret[:]), k.host, own)
	return err
}

// othersName says whether a peer has that name and is not known by that key: a
// code must not take its place.
func (b *peerBook) othersName(name, key string) bool {
	all, inFile := b.sections()
	for i, p := range all {
		if strings.EqualFold(p.Name, name) || strings.EqualFold(p.Path, name) {
			pin, _ := tlsid.ParsePin(p.Key)
			return pin != key || i < inFile
		}
	}
	return false
}

// put adds the peer of an invitation, or brings it up to date.
func (b *peerBook) put(name, key, address string, t invite.Terms, pull bool) (peerSection, error) {
	ch := changeOf(t)
	all, _ := b.sections()
	ch.Name, ch.Key, ch.Address, ch.Pull = name, &key, &address, &pull
	ch.Add = indexPeer(all, name) < 0
	return b.change(ch)
}

// ownAddress is where the inviting node may reach this one: the port of a door
// that is open to others, with our address as it sees it; "" if there is none.
func ownAddress(n nntpSection, same bool) string {
	for _, l := range []struct {
		scheme string
		listen []string
	}{{"", n.Listen}, {"nntps://", n.TLS.Listen}} {
		for _, a := range l.listen {
			host, port, err := net.SplitHostPort(a)
			ip, bad := netip.ParseAddr(host)
			switch {
			case err != nil || bad == nil && ip.IsLoopback() && !same:
			case host == "" || bad == nil && ip.IsUnspecified():
				return l.scheme + ":" + port
			default:
				return l.scheme + a
			}
		}
	}
	return ""
}

// reachable lists where the node can be reached, those of other machines first;
// at most as many as a code holds. have are the machine's addresses.
func reachable(n nntpSection, have []netip.Addr) []string {
	var far, near []string
	add := func(scheme, a string) {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case host == "" || err == nil && ip.IsUnspecified():
			for _, h := range have {
				if host == "" || ip.Is6() || h.Is4() {
					far = append(far, scheme+net.JoinHostPort(h.String(), port))
				}
			}
		case err == nil && ip.IsLoopback():
			near = append(near, scheme+a)
		default:
			far = append(far, scheme+a)
		}
	}
	for _, a := range n.Listen {
		add("", a)
	}
	for _, a := range n.TLS.Listen {
		add("nntps://", a)
	}
	if len(far) == 0 {
		far = near
	}
	return far[:min(len(far), 4)]
}

// interfaceAddrs are the machine's addresses that others may reach.
func interfaceAddrs() (out []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if ip := p.Addr().Unmap(); err == nil && ip.IsGlobalUnicast() {
			out = append(out, ip)
		}
	}
	return out
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(strings.TrimPrefix(address, "nntps://"))
	ip, bad := netip.ParseAddr(host)
	return err == nil && bad == nil && ip.IsLoopback() || host == "localhost"
}
