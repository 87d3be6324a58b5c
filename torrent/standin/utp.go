// Package utp stands in for github.com/anacrolix/go-utp, which anacrolix/torrent
// requires and which cannot always be had. It offers the names that the engine
// uses and gives a plain UDP socket that speaks no uTP: nothing is accepted,
// nothing is dialled. litfass runs the engine with uTP switched off.
//
// The module is named by go.work, so go.mod needs no replace directive and who
// installs the published module gets the real one. docs/decisions/0005-torrent-engine.md tells
// the story and the way out.
package utp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
)

// Default names the implementation in the engine's error messages.
const Default = "stand-in without uTP"

// ErrNoUTP is returned by every dial.
var ErrNoUTP = errors.New("this build speaks no uTP")

// FirewallCallback decides whether a connection is refused. It is never called.
type FirewallCallback func(net.Addr) bool

// Option is accepted and has no effect.
type Option func()

// WithLogger is accepted and has no effect.
func WithLogger(*slog.Logger) Option { return func() {} }

// Socket is a packet socket which the engine may share with its DHT.
type Socket interface {
	net.PacketConn
	Accept() (net.Conn, error)
	Addr() net.Addr
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	SetFirewallCallback(FirewallCallback)
}

// NewSocket opens a UDP socket at addr.
func NewSocket(network, addr string, opts ...Option) (Socket, error) {
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		return nil, err
	}
	return NewSocketFromPacketConn(pc, opts...)
}

// NewSocketFromPacketConn wraps pc, which Close closes.
func NewSocketFromPacketConn(pc net.PacketConn, _ ...Option) (Socket, error) {
	return &socket{PacketConn: pc, closed: make(chan struct{})}, nil
}

type socket struct {
	net.PacketConn
	once   sync.Once
	closed chan struct{}
}

// Accept waits for Close: no connection ever comes.
func (s *socket) Accept() (net.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s *socket) Addr() net.Addr { return s.LocalAddr() }

func (s *socket) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, ErrNoUTP
}

func (s *socket) SetFirewallCallback(FirewallCallback) {}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.PacketConn.Close()
}
