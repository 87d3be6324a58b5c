package tracker

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkUDPAnnounceSocket counts announces answered over a real socket, with 64
// requests on their way; asker and tracker share the machine.
func BenchmarkUDPAnnounceSocket(b *testing.B) {
	tr := New(Config{PerAddr: -1})
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- tr.ServeUDP(ctx, c) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	peer, err := net.DialUDP("udp", nil, c.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], tr.connectionID(netip.MustParseAddrPort(peer.LocalAddr().String()), tr.slot()))
	req := udpRequest(id[:], 1, -1)
	buf := make([]byte, 2048)
	answered := 0
	for b.Loop() {
		for range 64 {
			if _, err := peer.Write(req); err != nil {
				b.Fatal(err)
			}
		}
		for range 64 {
			_ = peer.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := peer.Read(buf); err != nil {
				break // lost: the kernel's buffer was full
			}
			answered++
		}
	}
	b.ReportMetric(float64(answered)/b.Elapsed().Seconds(), "announces/s")
}
