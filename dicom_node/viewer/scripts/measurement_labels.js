// OHIF writes a number with the name of its concept ("Probability: 87.34 %") and leaves out whose it is; a point it
// draws as an arrow at a place. Points in this node's reports anchor the display of a slice and locate nothing, and
// many are on one slice: they become a list of lines. A line around a region is said to be what it is. Reports of
// others stay as they are.
(() => {
  const MANUFACTURER = '';
  const REGION = {
    en: 'Line: where the algorithm looked, no outline of a lesion',
    ru: 'Линия: куда смотрел алгоритм, не контур очага',
  };
  // OHIF writes the code of a unit (UCUM).
  const UNITS = { en: { "[hnsf'U]": 'HU' }, ru: { "[hnsf'U]": 'ед. H', mL: 'мл' } };
  // What is read of the report itself: DCM, but for the presence of a finding and its absence (SCT).
  const CODES = { language: '121049', tracking: '112040', presence: '705057003', absent: '272519000' };
  const plans = new WeakMap();

  const displaySets = () => window.services.displaySetService.getActiveDisplaySets();
  const isAnchor = measurement => measurement.coords[0]?.GraphicType === 'POINT';

  // A frame of an instance, as a text.
  function imageOf(measurement) {
    const { ReferencedSOPInstanceUID, ReferencedFrameNumber } = measurement.coords[0]?.ReferencedSOPSequence ?? {};
    return `${ReferencedSOPInstanceUID}:${ReferencedFrameNumber || 1}`;
  }

  function ownReport(seriesUID) {
    const report = displaySets().find(set => set.SeriesInstanceUID === seriesUID && set.measurements);
    return report?.instance?.Manufacturer === MANUFACTURER ? report : undefined;
  }

  const listed = sequence => [sequence ?? []].flat();
  const itemOf = (items, code) => items.find(item => item.ConceptNameCodeSequence?.CodeValue === code);

  function languageOf(report) {
    const item = itemOf(listed(report.instance.ContentSequence), CODES.language);
    return item?.ConceptCodeSequence?.CodeValue?.startsWith('ru') ? 'ru' : 'en';
  }

  // Code and meaning of the presence of each group that states one, by tracking UID.
  function presencesIn(container, found = new Map()) {
    const items = listed(container.ContentSequence);
    const presence = itemOf(items, CODES.presence)?.ConceptCodeSequence;
    if (presence) {
      found.set(itemOf(items, CODES.tracking)?.UID, presence);
    }
    items.filter(item => item.ValueType === 'CONTAINER').forEach(item => presencesIn(item, found));
    return found;
  }

  function linesOf(measurement, presence, language) {
    const name = measurement.TrackingIdentifier;
    const numbers = measurement.labels
      // Comments have no value, a finding site has a code for its label.
      .filter(({ label, value }) => value && !/^\d+$/.test(label))
      .map(({ label, value }) => {
        const [number, unit] = value.split(' ');
        // OHIF writes zero as nothing.
        return `${label}: ${number || '0.00'} ${UNITS[language][unit] ?? unit}`;
      });
    const state = presence ? `, ${presence.CodeMeaning.toLowerCase()}` : '';
    const lines = numbers.length === 1 ? [`${name} - ${numbers[0]}${state}`] : [`${name}:`, ...numbers];
    return isAnchor(measurement) ? lines : [...lines, REGION[language]];
  }

  // For each group of a report its lines and the groups on the same image, in the order of the report; made once, from
  // what OHIF wrote: it asks again where a study has more than one series.
  function planOf(report) {
    if (!plans.has(report)) {
      const [presences, language] = [presencesIn(report.instance), languageOf(report)];
      const [plan, images] = [new Map(), new Map()];
      for (const measurement of report.measurements) {
        const presence = presences.get(measurement.TrackingUniqueIdentifier);
        const image = imageOf(measurement);
        const onImage = images.get(image) ?? [];
        const group = {
          lines: linesOf(measurement, presence, language),
          located: !isAnchor(measurement),
          pale: presence?.CodeValue === CODES.absent,
          onImage,
        };
        onImage.push(group);
        images.set(image, onImage);
        plan.set(measurement.TrackingUniqueIdentifier, group);
      }
      plans.set(report, plan);
    }
    return plans.get(report);
  }

  window.config.customizationService.push({
    onBeforeSRAddMeasurement: {
      $set: ({ measurement, SeriesInstanceUID }) => {
        const report = ownReport(SeriesInstanceUID);
        if (report) {
          const group = planOf(report).get(measurement.TrackingUniqueIdentifier);
          // For the panel of measurements, which writes what is in them.
          measurement.labels = group.lines.map(line => ({ label: line, value: '' }));
          labelPlaces.draw(measurement.labels, group);
        }
        return measurement;
      },
    },
  });
})();
