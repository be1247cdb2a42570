package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"

	"sememcached/bench/rig"
)

// charts writes one chart for every other server and figure: a bar for each row,
// with its spread, on a logarithmic scale, a line at 1, and a mark at the target.
func (r *report) charts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if len(r.Rows) == 0 {
		return nil
	}
	for _, v := range r.rivals() {
		for _, f := range []struct {
			file, title string
			get         func(*ratioReport) rig.Spread
			target      bool
		}{
			{"throughput", "throughput: sememcached / " + v.name, func(a *ratioReport) rig.Spread { return a.Rate }, true},
			{"cpu", "server CPU per request: " + v.name + " / sememcached", func(a *ratioReport) rig.Spread { return a.CPU }, true},
			{"p99", "p99: sememcached / " + v.name, func(a *ratioReport) rig.Spread { return a.P99 }, false},
		} {
			var bars []bar
			for j := range r.Rows {
				a := r.Rows[j].against(v.name)
				if a == nil {
					continue
				}
				one := bar{name: r.Rows[j].Name, value: f.get(a)}
				if f.target && !v.ceiling {
					one.target = r.Rows[j].Target
				}
				bars = append(bars, one)
			}
			name := filepath.Join(dir, v.name+"-"+f.file+".svg")
			if err := os.WriteFile(name, chart(f.title, bars), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

type bar struct {
	name   string
	value  rig.Spread
	target float64 // 0: none
}

const (
	barHeight = 18
	barStep   = 26
	chartLeft = 110
	chartWide = 560
	chartTop  = 40
)

func chart(title string, bars []bar) []byte {
	lo, hi := 0.5, 2.0
	for _, b := range bars {
		if b.value.Low > 0 {
			lo = min(lo, b.value.Low)
		}
		hi = max(hi, b.value.High, b.target)
	}
	x := func(v float64) float64 {
		return chartLeft + chartWide*math.Log(max(v, lo)/lo)/math.Log(hi/lo)
	}
	var s bytes.Buffer
	height := chartTop + barStep*len(bars) + 30
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", chartLeft+chartWide+70, height)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="20" font-size="14">%s</text>`+"\n", html.EscapeString(title))
	for _, v := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50} {
		if v < lo || v > hi {
			continue
		}
		color := "#ddd"
		if v == 1 {
			color = "#333"
		}
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			x(v), x(v), chartTop-8, height-25, color, x(v), height-10, v)
	}
	for i, b := range bars {
		y := chartTop + barStep*i
		from, to := min(x(1), x(b.value.Median)), max(x(1), x(b.value.Median))
		mid := float64(y) + barHeight/2
		fmt.Fprintf(&s, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-8, mid+4, html.EscapeString(b.name))
		fmt.Fprintf(&s, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#5b8db8"/>`, from, y, max(to-from, 1), barHeight)
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#222" stroke-width="1.5"/>`, x(b.value.Low), x(b.value.High), mid, mid)
		if b.target > 0 {
			fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#c33" stroke-width="2"/>`, x(b.target), x(b.target), y-2, y+barHeight+2)
		}
		fmt.Fprintf(&s, `<text x="%d" y="%.1f">%.2f</text>`+"\n", chartLeft+chartWide+12, mid+4, b.value.Median)
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}
