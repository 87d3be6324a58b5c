package webforum

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLive(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.f.Run(ctx) }()
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	res, err := http.Get(srv.URL + "/events?g=misc.test")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 4096)
	n, _ := res.Body.Read(buf)
	if !strings.HasPrefix(string(buf[:n]), "retry:") || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q", buf[:n])
	}
	w.must(simple(1, "Hello", ""))
	n, err = res.Body.Read(buf)
	if err != nil || string(buf[:n]) != "id: 1\ndata: {\"id\":\"a1@a.example\",\"group\":\"misc.test\"}\n\n" {
		t.Errorf("%q %v", buf[:n], err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil { // the connection ends with the forum
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
