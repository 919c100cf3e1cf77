#include "metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace hansa::metrics {

void Counter::add(double value) const {
  impl_->Increment(value);
}
void Gauge::set(double value) const {
  impl_->Set(value);
}
void Histogram::observe(double value) const {
  impl_->Observe(value);
}
void Summary::observe(double value) const {
  cell_->count.fetch_add(1, std::memory_order_relaxed);
  cell_->sum.fetch_add(value, std::memory_order_relaxed);
}

struct Registry::Impl {
  prometheus::Registry registry;  // the same family and labels added again give the same metric
  struct SummaryFamily {
    std::string help;
    std::map<Labels, Summary::Cell> cells;
  };
  std::mutex mutex;
  std::map<std::string, SummaryFamily> summaries;  // by name
  std::vector<std::function<void()>> refreshes;
};

namespace {

prometheus::ClientMetric exposed(const Labels& labels, const Summary::Cell& cell) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  metric.summary.sample_count = cell.count.load(std::memory_order_relaxed);
  metric.summary.sample_sum = cell.sum.load(std::memory_order_relaxed);
  return metric;
}

}  // namespace

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return Counter(prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry).Add(labels));
}

Gauge Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return Gauge(prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry).Add(labels));
}

Histogram Registry::histogram(const std::string& name, const std::string& help, const Labels& labels,
                              const std::vector<double>& buckets) {
  return Histogram(prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry).Add(labels, buckets));
}

Summary Registry::summary(const std::string& name, const std::string& help, const Labels& labels) {
  const std::scoped_lock lock(impl_->mutex);
  auto& family = impl_->summaries[name];
  family.help = help;
  return Summary(family.cells[labels]);
}

void Registry::before_scrape(std::function<void()> refresh) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->refreshes.push_back(std::move(refresh));
}

std::string Registry::render() {
  {
    const std::scoped_lock lock(impl_->mutex);
    for (const auto& refresh : impl_->refreshes) refresh();
  }
  auto families = impl_->registry.Collect();
  const std::scoped_lock lock(impl_->mutex);
  for (const auto& [name, family] : impl_->summaries) {
    prometheus::MetricFamily out;
    out.name = name;
    out.help = family.help;
    out.type = prometheus::MetricType::Summary;
    for (const auto& [labels, cell] : family.cells) out.metric.push_back(exposed(labels, cell));
    families.push_back(std::move(out));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace hansa::metrics
