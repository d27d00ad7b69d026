#include "store/transfer.h"

#include <utility>

namespace sluice {

Transfer* TransferPool::take(UnitId unit, Transfer::Place place, const Layout* layout) {
  if (free_.empty()) {
    all_.emplace_back();
    free_.push_back(&all_.back());
  }
  Transfer* const transfer = free_.back();
  free_.pop_back();
  Layout rows = std::move(transfer->rows);
  *transfer = {};
  transfer->rows = std::move(rows);
  transfer->unit = unit;
  transfer->place = place;
  transfer->layout = layout != nullptr ? layout : &transfer->rows;
  return transfer;
}

}  // namespace sluice
