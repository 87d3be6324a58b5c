package nntp

// Join says an invitation's secret to the node that made it (XJOIN, docs/peering.md)
// and returns that node's path identity. host is our own, address where we can be
// reached: host:port, :port with the address that the other side sees, or "". The
// connection must be under TLS with a client certificate; it ends afterwards.
func (c *Client) Join(secret, host, address string) (string, error) {
	if address == "" {
		address = "-"
	}
	_, text, err := c.exchange("XJOIN", "XJOIN "+secret+" "+host+" "+address, CodeJoined)
	return text, err
}
