package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// port is where multicast DNS is spoken; it is shared with a running avahi.
const port = 5353

// Interfaces is the real medium: the named network interfaces, each with IPv4 and
// IPv6. "*" is all that are up, speak multicast and are not loopback.
type Interfaces []string

// Present names what is up now: "eth0/4", "eth0/6".
func (names Interfaces) Present() (out []string) {
	all, err := net.Interfaces()
	if err != nil {
		return nil // asked again soon
	}
	for _, i := range all {
		every := slices.Contains(names, "*") && i.Flags&net.FlagMulticast != 0 && i.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0
		if i.Flags&net.FlagUp == 0 || !every && !slices.Contains(names, i.Name) {
			continue
		}
		for _, p := range prefixes(&i) {
			name := i.Name + "/6"
			if p.Addr().Is4() {
				name = i.Name + "/4"
			}
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func prefixes(i *net.Interface) (out []netip.Prefix) {
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ip, ok := netip.AddrFromSlice(n.IP)
			ones, _ := n.Mask.Size()
			if ip = ip.Unmap(); ok && !ip.IsMulticast() {
				out = append(out, netip.PrefixFrom(ip, ones))
			}
		}
	}
	return out
}

// Open joins the group on one interface and family.
func (Interfaces) Open(name string) (Link, error) {
	ifname, family, _ := strings.Cut(name, "/")
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	l := &udpLink{ifi: i, group: netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), port)}
	network, bind := "udp4", "224.0.0.251:5353"
	if family == "6" {
		l.group = netip.AddrPortFrom(netip.MustParseAddr("ff02::fb").WithZone(ifname), port)
		network, bind = "udp6", "[ff02::fb%"+ifname+"]:5353"
	}
	lc := net.ListenConfig{Control: shared}
	pc, err := lc.ListenPacket(context.Background(), network, bind)
	if err != nil {
		return nil, fmt.Errorf("open port %d: %w", port, err)
	}
	l.conn = pc.(*net.UDPConn)
	if err := l.join(family); err != nil {
		return nil, errors.Join(err, l.conn.Close())
	}
	return l, nil
}

// shared lets others on this host listen on the port too.
func shared(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }); e != nil {
		return e
	}
	return err
}

// udpLink is a socket that is bound to the group on one interface.
type udpLink struct {
	conn  *net.UDPConn
	ifi   *net.Interface
	group netip.AddrPort
	p4    *ipv4.PacketConn
	p6    *ipv6.PacketConn
}

// join takes part in the group: 255 hops (RFC 6762 §11), heard by other programs of this host.
func (l *udpLink) join(family string) error {
	group := net.UDPAddrFromAddrPort(l.group)
	if family == "6" {
		l.p6 = ipv6.NewPacketConn(l.conn)
		return errors.Join(l.p6.JoinGroup(l.ifi, group), l.p6.SetMulticastInterface(l.ifi), l.p6.SetMulticastHopLimit(255), l.p6.SetHopLimit(255),
			l.p6.SetMulticastLoopback(true), l.p6.SetControlMessage(ipv6.FlagInterface, true))
	}
	l.p4 = ipv4.NewPacketConn(l.conn)
	return errors.Join(l.p4.JoinGroup(l.ifi, group), l.p4.SetMulticastInterface(l.ifi), l.p4.SetMulticastTTL(255), l.p4.SetTTL(255),
		l.p4.SetMulticastLoopback(true), l.p4.SetControlMessage(ipv4.FlagInterface, true))
}

func (l *udpLink) Interface() string        { return l.ifi.Name }
func (l *udpLink) Group() netip.AddrPort    { return l.group }
func (l *udpLink) Prefixes() []netip.Prefix { return prefixes(l.ifi) }
func (l *udpLink) Close() error             { return l.conn.Close() }

func (l *udpLink) Send(b []byte, to netip.AddrPort) error {
	_, err := l.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Read returns what came in on this interface: a group joined on another socket
// delivers here too (Linux: IP_MULTICAST_ALL).
func (l *udpLink) Read(b []byte) (n int, from netip.AddrPort, err error) {
	for {
		var ifindex int
		var src net.Addr
		if l.p4 != nil {
			var cm *ipv4.ControlMessage
			if n, cm, src, err = l.p4.ReadFrom(b); cm != nil {
				ifindex = cm.IfIndex
			}
		} else {
			var cm *ipv6.ControlMessage
			if n, cm, src, err = l.p6.ReadFrom(b); cm != nil {
				ifindex = cm.IfIndex
			}
		}
		if err != nil {
			return 0, from, err
		}
		if u, ok := src.(*net.UDPAddr); ok && (ifindex == 0 || ifindex == l.ifi.Index) {
			return n, u.AddrPort(), nil
		}
	}
}
