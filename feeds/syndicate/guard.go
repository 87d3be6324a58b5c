package syndicate

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// Guard decides which addresses a poll may reach. It is asked when a connection
// is made, with the address in hand, so neither a redirect nor a name that
// changes its address gets around it.
type Guard struct {
	Allow []netip.Prefix   // mesh ranges and, if wanted, loopback; the public net is always allowed
	Deny  []netip.AddrPort // never, whatever Allow says: the node's own doors
}

// special are the ranges that are not the public net: IANA's registries of special
// addresses (RFC 6890), the old ones that hold an address of the other family among them.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("ff00::/8"),
}

// Check says why addr must not be reached, or nil.
func (g *Guard) Check(addr netip.AddrPort) error {
	ip := addr.Addr().Unmap().WithZone("")
	for _, d := range g.Deny {
		own := d.Addr().Unmap()
		if d.Port() == addr.Port() && (own == ip || own.IsUnspecified() && here(ip)) {
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

// here says whether ip is an address of this machine.
func here(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // better no feed than an open door
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().WithZone("") == ip {
			return true
		}
	}
	return false
}

// Door is an address as doors listen on, for Deny: one without a host, or with a name
// instead of an address, stands for all addresses of this machine.
func Door(listen string) (netip.AddrPort, bool) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip, uint16(n)), true
}

// control is net.Dialer's hook.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return &net.AddrError{Err: "no IP address", Addr: address}
	}
	return g.Check(addr)
}
