package torrent

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// barAddresses refuses to dial where no web seed and no tracker of a mesh is, but
// perhaps a service that trusts whoever can reach it.
func barAddresses(loopback bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		ip := ap.Addr().Unmap()
		if ip.IsLoopback() && !loopback || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4() && ip.IsLinkLocalUnicast() {
			return fmt.Errorf("%s is no address for a web seed or tracker", ip)
		}
		return nil
	}
}
