package nntpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestShutdown: who waits is sent away at once, who is at work may end.
func TestShutdown(t *testing.T) {
	s := &slowAgent{gate: make(chan struct{})}
	n := start(t, nodeConfig{peer: true, wrap: func(a Agent) Agent { s.Agent = a; return s }})
	idle, busy := n.dial(t), n.dial(t)
	ri, rb := bufio.NewReader(idle), bufio.NewReader(busy)
	for _, r := range []*bufio.Reader{ri, rb} {
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(busy, feed("<late@mesh.example>")); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return s.at.Load() == 1 })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- n.Shutdown(ctx)
	}()
	if l, err := ri.ReadString('\n'); err != nil || !strings.HasPrefix(l, "400 ") {
		t.Errorf("idle: %q, %v", l, err)
	}
	close(s.gate)
	if l, err := rb.ReadString('\n'); err != nil || l != "239 <late@mesh.example>\r\n" {
		t.Errorf("busy: %q, %v", l, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", n.addr); err == nil {
		t.Error("still listening")
	}
}

// TestShutdownPost: an article that is being posted may come to its end.
func TestShutdownPost(t *testing.T) {
	n := start(t, nodeConfig{})
	c := n.dial(t)
	r := bufio.NewReader(c)
	say := func(text, want string) {
		t.Helper()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, want) {
			t.Fatalf("after %q: %q, %v", text, l, err)
		}
	}
	say("", "200 ")
	say("POST\r\n", "340 ")
	done := make(chan error, 1)
	go func() { done <- n.Shutdown(context.Background()) }()
	wait(t, n.stopping)
	say(latePost+".\r\n", "240 ")
	say("", "400 ")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const latePost = "From: a@mesh.example\r\nNewsgroups: mesh.test\r\nSubject: late\r\n\r\nx\r\n"

// TestShutdownHung: clients that come to no end are told so, whatever they are at, and cut off.
func TestShutdownHung(t *testing.T) {
	n := start(t, nodeConfig{peer: true, accounts: true})
	var conns []net.Conn
	for _, begun := range []string{
		"TAKETHIS <h@mesh.example>\r\nSubject: x\r\n",
		"IHAVE <i@mesh.example>\r\nSubject: x",
		"POST\r\n" + latePost,
		"POST\r\n" + strings.Repeat(latePost, 200), // in a file by now
		"AUTHINFO SASL PLAIN\r\n",
		"TAKETHIS too many words\r\nSubject: x\r\n",
		"DATE\r\nDA",
	} {
		c := n.dial(t)
		if _, err := io.WriteString(c, begun); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	endless := n.dial(t)
	go func() {
		_, err := io.WriteString(endless, "POST\r\n"+latePost)
		for err == nil {
			_, err = io.WriteString(endless, "and so on\r\n")
		}
	}()
	wait(t, func() bool { return n.Counts.Commands.Load() == uint64(len(conns))+1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if n.Open() != 0 {
		t.Error("a connection is left")
	}
	for i, c := range conns {
		out, err := io.ReadAll(c)
		if _, last, _ := strings.Cut(strings.TrimSuffix(string(out), "\r\n"), "\r\n4"); err != nil || !strings.HasPrefix(last, "00 ") || strings.Contains(last, "\n") {
			t.Errorf("connection %d: %q, %v", i, out, err)
		}
	}
	if out, _ := io.ReadAll(endless); !strings.Contains(string(out), "\r\n400 ") {
		t.Errorf("who sends without end: %q", out)
	}
}
