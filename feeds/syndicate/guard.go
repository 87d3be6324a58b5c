package syndicate

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Guard decides which addresses a poll may reach. It is asked when a connection
// is made, with the address in hand, so neither a redirect nor a name that
// changes its address gets around it.
type Guard struct {
	Allow []netip.Prefix   // mesh ranges and, if wanted, loopback; the public net is always allowed
	Deny  []netip.AddrPort // never, whatever Allow says: the node's own doors
}

// special are the ranges that are not the public net: RFC 6890 and its like.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"), netip.MustParsePrefix("::/128"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// Check says why addr must not be reached, or nil.
func (g *Guard) Check(addr netip.AddrPort) error {
	ip := addr.Addr().Unmap()
	for _, d := range g.Deny {
		own := d.Addr().Unmap()
		if d.Port() == addr.Port() && (own == ip || own.IsUnspecified() && ip.IsLoopback()) {
			return fmt.Errorf("%v is a door of this node", addr)
		}
	}
	for _, p := range g.Allow {
		if p.Contains(ip) {
			return nil
		}
	}
	for _, p := range special {
		if p.Contains(ip) {
			return fmt.Errorf("%v is not in the public net and not in feeds.allow", ip)
		}
	}
	return nil
}

// control is net.Dialer's hook.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return &net.AddrError{Err: "no IP address", Addr: address}
	}
	return g.Check(addr)
}
