package app

import "github.com/prometheus/client_golang/prometheus"

// Registry holds all metrics of the role.
func (a *App) Registry() *prometheus.Registry { return a.reg }
