package tracker

import (
	"net"

	"golang.org/x/net/ipv4"
)

// multicastOut makes c send multicast through ifi, ttl hops far, and not hear
// itself. (net.ListenMulticastUDP sets the way in only.)
func multicastOut(c *net.UDPConn, ifi *net.Interface, ttl int) error {
	p := ipv4.NewPacketConn(c)
	if err := p.SetMulticastInterface(ifi); err != nil {
		return err
	}
	if err := p.SetMulticastTTL(ttl); err != nil {
		return err
	}
	return p.SetMulticastLoopback(false)
}
