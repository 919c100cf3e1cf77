#include "metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
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
  impl_->Observe(value);
}

struct Registry::Impl {
  prometheus::Registry registry;  // the same family and labels added again give the same metric
  std::mutex mutex;
  std::vector<std::function<void()>> refreshes;
};

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
  return Summary(prometheus::BuildSummary()
                     .Name(name)
                     .Help(help)
                     .Register(impl_->registry)
                     .Add(labels, prometheus::Summary::Quantiles{}));
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
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace hansa::metrics
