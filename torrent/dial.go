package torrent

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// mayDial says whether an address from the net may be dialled: not where no web seed, no
// tracker and no peer of a mesh is, but perhaps a service that trusts whoever can reach
// it. Loopback is dialled only by a node that is itself there.
func mayDial(ip netip.Addr, loopback bool) bool {
	ip = ip.Unmap()
	return !(ip.IsLoopback() && !loopback || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4() && ip.IsLinkLocalUnicast())
}

// barAddresses is mayDial for a net.Dialer: it sees the address behind a name, too.
func barAddresses(loopback bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !mayDial(ap.Addr(), loopback) {
			return fmt.Errorf("%s is no address for a web seed or tracker", ap.Addr())
		}
		return nil
	}
}
