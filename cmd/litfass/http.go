package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"sort"
	"strings"
)

// mux is the one HTTP mux. Rooms give handlers for their paths.
func (s *server) mux() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /healthz", s.near(s.healthz))
	m.HandleFunc("GET /metrics", s.near(s.metricsPage))
	m.Handle("GET "+acmePath, s.core.tls.Challenges())
	s.webRooms(m)
	s.feedRoutes(m)
	s.mailRoutes(m)
	return s.torrentRoutes(m)
}

// near lets through who comes from this machine or from http.trusted.
func (s *server) near(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		trusted := prefixes(s.core.conf().HTTP.Trusted)
		at, err := netip.ParseAddrPort(r.RemoteAddr)
		a := at.Addr().Unmap()
		ok := err == nil && a.IsLoopback()
		for _, p := range trusted {
			ok = ok || err == nil && p.Contains(a)
		}
		for _, p := range prefixes(s.core.conf().HTTP.Proxies) {
			if err == nil && p.Contains(a) && r.Header.Get("X-Forwarded-For") != "" {
				ok = false // somebody behind a proxy
			}
		}
		if !ok {
			http.Error(w, "for this machine and http.trusted only", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// metricWriter writes the Prometheus text format.
type metricWriter struct{ w io.Writer }

func (m *metricWriter) gauge(name, help string, v float64)   { m.one("gauge", name, help, v) }
func (m *metricWriter) counter(name, help string, v float64) { m.one("counter", name, help, v) }

func (m *metricWriter) one(kind, name, help string, v float64) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, v)
}

// labelled writes one metric with a value per label.
func (m *metricWriter) labelled(kind, name, help, label string, values map[string]float64) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(m.w, "%s{%s=%q} %v\n", name, label, k, values[k])
	}
}

func (s *server) metricsPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m := &metricWriter{w}
	m.labelled("gauge", "litfass_info", "version of the node", "version", map[string]float64{strings.ReplaceAll(versionString(), "\"", ""): 1})
	m.gauge("litfass_uptime_seconds", "since the start", s.core.now().Sub(s.core.begin).Seconds())
	m.gauge("litfass_spool_last_seq", "the newest place in the arrival log", float64(s.core.spool.Last()))
	m.gauge("litfass_goroutines", "goroutines", float64(runtime.NumGoroutine()))
	m.gauge("litfass_memory_resident_octets", "resident memory", float64(resident()))
	disk := s.core.diskState()
	m.gauge("litfass_disk_free_octets", "free on the disk of the data folder", float64(disk.Free))
	m.gauge("litfass_spool_octets", "what the articles take", float64(disk.Used))
	for _, write := range s.metrics {
		write(m)
	}
}
